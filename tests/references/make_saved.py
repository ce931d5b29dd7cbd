"""Makes saved.json: what transformers and sentence-transformers write themselves, for tests/test_export.py.

    python tests/references/make_saved.py

Needs torch, transformers and sentence-transformers; the tests don't. Of a bert-tiny with the sample's vocabulary: the
names and shapes of its tensors, its settings, the token ids of some texts, and the modules with either pooling.
"""

import json
import shutil
import tempfile
from pathlib import Path

import safetensors.numpy
import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

HERE = Path(__file__).parent
VOCABULARY = HERE.parent.parent / "bert_jax" / "data" / "sample" / "vocab.txt"
# Case, accents, other scripts, words without a piece, words like special tokens, nothing, and pairs.
TEXTS = [
    ["The FILM is superb ."],
    ["Café naïve Ärger ½ señor"],
    ["電影 很好 , \u200b\u00a0\u0007 isn't it ?"],
    ["supercalifragilistic " + "x" * 150],
    ["A [SEP] b [MASK] c [CLS] [UNK] [PAD] ."],
    [""],
    ["How do I save money ?", "What is the best way to spend less ?"],
    ["", "one"],
]


def describe(folder: Path) -> dict:
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    settings = json.loads((folder / "config.json").read_text())
    return {"config": settings, "tensors": {name: list(value.shape) for name, value in sorted(tensors.items())}}


def save_models(folder: Path) -> dict:
    size = dict(vocab_size=len(VOCABULARY.read_text().splitlines()), hidden_size=128, num_hidden_layers=2,
                num_attention_heads=2, intermediate_size=512)  # fmt: skip
    labels = {number: str(number) for number in range(5)}
    five = dict(
        id2label=labels, label2id={name: n for n, name in labels.items()}, problem_type="single_label_classification"
    )
    one = dict(id2label={0: "quora"}, label2id={"quora": 0}, problem_type="multi_label_classification")
    kinds = {
        "BertModel": (transformers.BertModel, {}),
        "BertForMaskedLM": (transformers.BertForMaskedLM, {}),
        "BertForSequenceClassification, sst": (transformers.BertForSequenceClassification, five),
        "BertForSequenceClassification, quora": (transformers.BertForSequenceClassification, one),
    }
    for name, (kind, extra) in kinds.items():
        kind(transformers.BertConfig(**size, **extra)).save_pretrained(folder / name)
    return {name: describe(folder / name) for name in kinds}


def save_tokenizer(folder: Path) -> dict:
    shutil.copy(VOCABULARY, folder / "vocab.txt")
    kind = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps({**kind, "split_special_tokens": True}))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoded = [tokenizer(*texts) for texts in TEXTS]
    tokenizer.save_pretrained(folder / "saved")
    return {
        "config": json.loads((folder / "saved" / "tokenizer_config.json").read_text()),
        "texts": TEXTS,
        "token_ids": [each["input_ids"] for each in encoded],
        "token_type_ids": [each["token_type_ids"] for each in encoded],
    }


def save_modules(folder: Path) -> dict:
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder / "BertModel")
    encoder = modules.Transformer(str(folder / "BertModel"))
    tanh = modules.Dense(128, 128, activation_function=torch.nn.Tanh())
    chains = {
        "cls": [modules.Pooling(128, pooling_mode="cls"), tanh],
        "mean": [modules.Pooling(128, pooling_mode="mean")],
    }
    found = {}
    for pooling, chain in chains.items():
        saved = folder / pooling
        SentenceTransformer(modules=[encoder, *chain]).save(str(saved))
        found[pooling] = {"modules": json.loads((saved / "modules.json").read_text())}
    found["dense"] = describe(folder / "cls" / "2_Dense")
    return found


if __name__ == "__main__":
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        found = save_models(Path(name)) | {"tokenizer": save_tokenizer(Path(name))} | save_modules(Path(name))
    made_with = {library.__name__: library.__version__ for library in (torch, transformers, sentence_transformers)}
    text = json.dumps({"made_with": made_with, **found}, indent=1, sort_keys=True)
    (HERE / "saved.json").write_text(text + "\n")
    print("made with", made_with)
