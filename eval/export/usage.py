"""How an exported model is used: the code that its card shows, all of which tests/references/check_export.py runs."""

import dataclasses
import json
from collections.abc import Sequence

from bert_jax.config import ModelConfig
from bert_jax.tasks import Task
from bert_jax.weights.folder import HEADS_FILE
from eval.metrics import SCORES

# What the code is shown with; also what it is tested with.
TEXTS = ["The film is superb .", "The story was dull , and so is the rest ."]
FIRSTS = ["How do I save money ?", "A dog is running in the park ."]
SECONDS = ["What is the best way to spend less ?", "A cat sleeps ."]

TOKENIZE = 'tokenizer({}, padding=True, truncation=True, return_tensors="pt")'


def training_flags(model: ModelConfig) -> str:
    """The flags, beside --init, with which `train.main` makes the same model again."""
    fields = {field.name: field.default for field in dataclasses.fields(model)}
    names = ("pooling", "pair_encoding", "similarity_head")
    return "".join(f" --{name}={getattr(model, name)}" for name in names if getattr(model, name) != fields[name])


def encoder_code(name: str, model: ModelConfig, has_pooler: bool) -> str:
    """transformers, from texts to embeddings."""
    result = (
        "output.pooler_output"
        if model.pooling == "cls"
        else '(output.last_hidden_state * batch["attention_mask"][..., None]).sum(1)'
        ' / batch["attention_mask"].sum(1, keepdim=True)'
    )
    options = "" if has_pooler else ", add_pooling_layer=False"
    return f"""
import torch
from transformers import AutoModel, AutoTokenizer

folder = {json.dumps(name)}  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModel.from_pretrained(folder{options})


def embed(*texts):
    batch = {TOKENIZE.format("*texts")}
    with torch.no_grad():
        output = model(**batch)
    return {result}


texts = {json.dumps(TEXTS)}
embeddings = embed(texts)  # [texts, {model.bert.hidden_size}]
"""


def heads_code(model: ModelConfig, tasks: Sequence[Task]) -> str:
    """From embeddings to each task's outputs; goes on where `encoder_code` ends."""
    reads = {
        "texts": "embed(texts)",
        "separate": "torch.cat([embed(firsts), embed(seconds)], dim=-1)",
        "joint": "embed(firsts, seconds)",
    }
    lines = []
    if any(task.is_pair for task in tasks):
        lines += [f"firsts = {json.dumps(FIRSTS)}", f"seconds = {json.dumps(SECONDS)}"]
    lines.append("outputs = {}")
    for task in tasks:
        if task.has_weights(model.similarity_head):
            read = reads[model.pair_encoding if task.is_pair else "texts"]
            lines.append(f'outputs["{task.name}"] = apply("{task.name}", {read})  # {SCORES[task.kind].meaning(task)}')
        else:
            floor, span = model.cosine_floor, 1 - model.cosine_floor
            lines.append("cosine = torch.cosine_similarity(embed(firsts), embed(seconds))")
            lines.append(f'outputs["{task.name}"] = (cosine - {floor:g}) / {span:g} * {task.max_label}'
                         f"  # {SCORES[task.kind].meaning(task)}")  # fmt: skip
    apply = f"""
from safetensors.torch import load_file

heads = load_file(f"{{folder}}/{HEADS_FILE}")


def apply(task, embeddings):
    return embeddings @ heads[f"heads.{{task}}.weight"].T + heads[f"heads.{{task}}.bias"]


"""
    return (apply if any(task.has_weights(model.similarity_head) for task in tasks) else "\n") + "\n".join(lines) + "\n"


def classifier_code(name: str, task: Task) -> str:
    """transformers, from texts to a task's outputs."""
    given = (
        f"firsts = {json.dumps(FIRSTS)}\nseconds = {json.dumps(SECONDS)}"
        if task.is_pair
        else f"texts = {json.dumps(TEXTS)}"
    )
    return f"""
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = {json.dumps(name)}  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder)
{given}
batch = {TOKENIZE.format("firsts, seconds" if task.is_pair else "texts")}
with torch.no_grad():
    logits = model(**batch).logits  # {SCORES[task.kind].meaning(task)}
"""


def sentence_code(name: str, model: ModelConfig) -> str:
    """sentence-transformers, from texts to embeddings."""
    return f"""
from sentence_transformers import SentenceTransformer

model = SentenceTransformer({json.dumps(name)})  # this folder
embeddings = model.encode({json.dumps(TEXTS)})  # [texts, {model.bert.hidden_size}]
"""


def masked_code(name: str) -> str:
    """transformers, from a text with a gap to the likeliest words for it."""
    text = TEXTS[0].replace("superb", "[MASK]")
    return f"""
from transformers import pipeline

fill = pipeline("fill-mask", {json.dumps(name)})  # this folder
words = [found["token_str"] for found in fill({json.dumps(text)})]
"""
