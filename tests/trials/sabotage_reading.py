"""Builds of the program that lack a guard against what they read; see `sabotage.py`."""

import dataclasses
import pickle

import numpy as np


def labels_not_checked() -> None:
    from bert_jax.tasks import KINDS

    for name, kind in KINDS.items():
        KINDS[name] = dataclasses.replace(kind, read=lambda task, raw: float(raw))


def encoding_not_checked() -> None:
    from bert_jax.data import tables

    def lines(path, data):
        return data.decode("utf-8-sig", "replace").splitlines(keepends=True)

    tables._lines = lines


def shapes_not_compared() -> None:
    from bert_jax.weights import folder as weights
    from bert_jax.weights import layout

    check = weights.check_fit

    def check_fit(tensors, config, source):
        shapes = {name: entry.shape for entry in layout.entries(config) for name in entry.names}
        return check([t._replace(shape=shapes.get(layout._plain_name(t.name), ())) for t in tensors], config, source)

    weights.check_fit = check_fit


def vocabulary_not_counted() -> None:
    from bert_jax.batches import tokenizer
    from train import inputs

    inputs.read_tokenizer = lambda folder, vocab_size=None: tokenizer.read_tokenizer(folder)


def values_not_checked() -> None:
    from bert_jax.weights import folder as weights

    convert = weights.from_hugging_face
    weights.from_hugging_face = lambda read, found, source: convert(lambda n: np.nan_to_num(read(n)), found, source)


def files_not_checked() -> None:
    from bert_jax import files
    from bert_jax.weights import folder as weights

    files.check_file = weights.check_file = lambda path, limit=None: None


def pickles_read() -> None:
    from train import inputs

    load = inputs.load_weights

    def load_weights(folder):
        if (folder / "pytorch_model.bin").exists():
            pickle.loads((folder / "pytorch_model.bin").read_bytes())
        return load(folder)

    inputs.load_weights = load_weights


def audited_as_spelled() -> None:
    from eval import overlaps

    overlaps.text_key = lambda text: text


def audited_in_order() -> None:
    from eval import overlaps

    overlaps.row_key = lambda example: tuple(map(overlaps.text_key, example.texts))


def conflicts_not_looked_for() -> None:
    from eval import overlaps

    overlaps.count_conflicts = lambda examples: {"distinct": 0, "rows": 0}


def audit_uses_jax() -> None:
    from eval import overlaps

    real = overlaps.audit_task

    def audit_task(task, tables):
        import jax

        assert jax
        return real(task, tables)

    overlaps.audit_task = audit_task


READING = (
    labels_not_checked,
    encoding_not_checked,
    shapes_not_compared,
    vocabulary_not_counted,
    values_not_checked,
    files_not_checked,
    pickles_read,
    audited_as_spelled,
    audited_in_order,
    conflicts_not_looked_for,
    audit_uses_jax,
)
