"""Loads an exported folder with transformers and sentence-transformers and compares. Needs them and torch; no JAX.

    python -m eval.export --run_dir=RUN --output=FOLDER
    python -m tests.references.write_outputs RUN FOLDER     # where JAX is: FOLDER.npz
    python tests/references/check_export.py FOLDER

Everything has to be equal within 1e-5, and nothing may be missing, unexpected, or warned of. All Python code in the
card is run.
"""

import logging
import os
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import sentence_transformers
import torch
import transformers
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

LIMIT = 1e-5


def compare(what: str, theirs, ours) -> None:
    theirs, ours = np.asarray(theirs, np.float64), np.asarray(ours, np.float64)
    assert theirs.shape == ours.shape, f"{what}: {theirs.shape} here, {ours.shape} stored"
    difference = np.abs(theirs - ours).max()
    print(f"{what:<55} {list(ours.shape)!s:<12} differs by {difference:.1e} at most, of {np.abs(ours).max():.1e}")
    assert difference <= LIMIT, what


def load(kind, folder: Path, **options):
    model, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    problems = {name: keys for name, keys in info.items() if keys}
    assert not problems, problems
    return model.eval()


def check_tokenizer(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert len(tokenizer) == tokenizer.vocab_size == len(words), (len(tokenizer), tokenizer.vocab_size, len(words))
    assert all(tokenizer.convert_tokens_to_ids(word) == number for number, word in enumerate(words))
    for name in ("pad", "unk", "cls", "sep", "mask"):
        assert getattr(tokenizer, f"{name}_token_id") == words.index(f"[{name.upper()}]"), name
    ids = tokenizer("a", "b")
    pieces = tokenizer.convert_ids_to_tokens(ids["input_ids"])
    assert [pieces[0], pieces[2], pieces[4]] == ["[CLS]", "[SEP]", "[SEP]"] and ids["token_type_ids"] == [0, 0, 0, 1, 1]
    print(f"{type(tokenizer).__name__}, {len(tokenizer)} word pieces, {tokenizer.model_max_length} tokens at most")


def run_card(folder: Path) -> dict:
    """Runs the code in the card, as it stands there, beside the folder; what its names are in the end."""
    names: dict = {}
    os.chdir(folder.parent)
    blocks = re.findall(r"^```python\n(.*?)^```", (folder / "README.md").read_text(encoding="utf-8"), re.S | re.M)
    for block in blocks:
        exec(block, names)
        names.setdefault("first_embeddings", names.get("embeddings"))
    print(f"{len(blocks)} pieces of code in the card were run")
    return names


def check_classifier(folder: Path, stored, tokenize) -> None:
    model = load(AutoModelForSequenceClassification, folder)
    (task,) = [name for name in stored if name.startswith("output.") and name[7:] in folder_task(model, stored)]
    logits = run_card(folder)["logits"]
    ours = stored[task].reshape(-1, model.config.num_labels)
    compare(f"the card's logits, {task[7:]}", logits, ours[: len(logits)])
    if len(ours) == len(stored["texts"]):
        with torch.no_grad():
            compare(f"{type(model).__name__}, {task[7:]}", model(**tokenize(stored)).logits, ours)


def folder_task(model, stored) -> list[str]:
    """The task that a classifier is of: one output is called after its task; of classes, by their number."""
    if model.config.num_labels == 1:
        return [model.config.id2label[0]]
    sizes = {name[7:]: stored[name].shape[1:] for name in stored if name.startswith("output.")}
    return [name for name, size in sizes.items() if size == (model.config.num_labels,)]


def check_encoder(folder: Path, stored, tokenize) -> None:
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    compare("SentenceTransformer", model.encode(stored["texts"].tolist()), stored["embeddings"])
    names = run_card(folder)
    texts = len(names["texts"])
    compare("the card's embeddings, transformers", names["first_embeddings"], stored["embeddings"][:texts])
    compare("the card's embeddings, sentence-transformers", names["embeddings"], stored["embeddings"][:texts])
    for task, outputs in names["outputs"].items():
        compare(f"the card's outputs, {task}", outputs.squeeze(-1), stored[f"output.{task}"][: len(outputs)])
    has_pooler = (folder / "2_Dense").exists()
    model = load(AutoModel, folder, **({} if has_pooler else {"add_pooling_layer": False}))
    with torch.no_grad():
        output, mask = model(**tokenize(stored)), tokenize(stored)["attention_mask"][..., None]
    mean = (output.last_hidden_state * mask).sum(1) / mask.sum(1)
    compare(type(model).__name__, output.pooler_output if has_pooler else mean, stored["embeddings"])


def check_masked_lm(folder: Path, stored, tokenize) -> None:
    model = load(AutoModelForMaskedLM, folder)
    batch = {name: value[2:3] for name, value in tokenize(stored).items()}  # the first of the hard texts
    with torch.no_grad():
        logits = model(**batch).logits[0][batch["attention_mask"][0] == 1]
    compare(type(model).__name__, logits, stored["masked"])
    print("the card's words:", run_card(folder)["words"])


def main(folder: Path) -> None:
    warnings.simplefilter("error")
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    for library in ("transformers", "sentence_transformers"):
        logging.getLogger(library).addHandler(handler)

    with np.load(f"{folder}.npz") as file:
        stored = dict(file)
    check_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def tokenize(stored):
        return tokenizer(stored["texts"].tolist(), padding=True, truncation=True, return_tensors="pt")

    (architecture,) = transformers.AutoConfig.from_pretrained(folder).architectures
    check = {
        "BertModel": check_encoder,
        "BertForSequenceClassification": check_classifier,
        "BertForMaskedLM": check_masked_lm,
    }[architecture]
    check(folder, stored, tokenize)
    assert not said, said
    versions = [f"{library.__name__} {library.__version__}" for library in (torch, transformers, sentence_transformers)]
    print(f"{folder}: as it should be, with {', '.join(versions)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
