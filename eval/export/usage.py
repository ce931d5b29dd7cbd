"""How an exported model is used: the code that its card shows, all of which tests/references/check_export.py runs."""

import dataclasses
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from string import Template

from bert_jax.config import ModelConfig
from bert_jax.tasks import Task
from bert_jax.weights.folder import HEADS_FILE
from eval.metrics import SCORES

# What the code is shown with; also what it is tested with.
TEXTS = ["The film is superb .", "The story was dull , and so is the rest ."]
FIRSTS = ["How do I save money ?", "A dog is running in the park ."]
SECONDS = ["What is the best way to spend less ?", "A cat sleeps ."]
PAIRS = f"firsts = {json.dumps(FIRSTS)}\nseconds = {json.dumps(SECONDS)}"

TEMPLATES = Path(__file__).parent / "templates"
PIECES = tomllib.loads((TEMPLATES / "pieces.toml").read_text(encoding="utf-8"))


def training_flags(model: ModelConfig) -> str:
    """Give the flags, beside --init, with which `train.main` makes the same model again."""
    fields = {field.name: field.default for field in dataclasses.fields(model)}
    names = ("pooling", "pair_encoding", "similarity_head")
    return "".join(f" --{name}={getattr(model, name)}" for name in names if getattr(model, name) != fields[name])


def fill(template: str, **values: object) -> str:
    """Fill the places of templates/TEMPLATE.txt, which begin with $."""
    return Template((TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")).substitute(values)


def show(name: str, model: ModelConfig, tasks: Sequence[Task], classifier: Task | None, has_pooler: bool) -> list[str]:
    """Show the code for each library: for masked words, a classifier's logits, or embeddings and all tasks' outputs.

    Args:
      name: of the folder.
      classifier: the task of which it is a BertForSequenceClassification.
    """
    places = {"folder": json.dumps(name), "texts": json.dumps(TEXTS), "hidden_size": model.bert.hidden_size}
    if tasks[0].is_masked_lm:
        return [fill("masked", text=json.dumps(TEXTS[0].replace("superb", "[MASK]")), **places)]
    if classifier:
        given, names = (PAIRS, "firsts, seconds") if classifier.is_pair else (f"texts = {places['texts']}", "texts")
        meaning = SCORES[classifier.kind].meaning(classifier)
        return [fill("classifier", given=given, names=names, meaning=meaning, **places)]
    options = "" if has_pooler else ", add_pooling_layer=False"
    encoder = fill("encoder", options=options, embedding=PIECES["embedding"][model.pooling], **places)
    has_weights = any(task.has_weights(model.similarity_head) for task in tasks)
    outputs = show_outputs(model, tasks)
    heads = fill("heads" if has_weights else "cosine", outputs=outputs, heads_file=HEADS_FILE)
    return [encoder, heads, fill("sentence", **places)]


def show_outputs(model: ModelConfig, tasks: Sequence[Task]) -> str:
    """Show the way from embeddings to each task's outputs."""
    lines = [*([PAIRS] if any(task.is_pair for task in tasks) else []), "outputs = {}"]
    for task in tasks:
        if task.has_weights(model.similarity_head):
            output = f'apply("{task.name}", {PIECES["read"][model.pair_encoding if task.is_pair else "alone"]})'
        else:
            lines.append("cosine = torch.cosine_similarity(embed(firsts), embed(seconds))")
            output = f"(cosine - {model.cosine_floor:g}) / {1 - model.cosine_floor:g} * {task.max_label}"
        lines.append(f'outputs["{task.name}"] = {output}  # {SCORES[task.kind].meaning(task)}')
    return "\n".join(lines)
