"""A kind of task of your own: texts with several labels each, in one column with a semicolon between them.

kind = "several" in the TOML of a task, and --extend=examples/several_labels.py, also for the commands that judge a run.
"""

import dataclasses

import numpy as np
import optax
import scipy.special

from bert_jax.heads import HEADS as BUILT_IN
from bert_jax.tasks import Kind
from eval.metrics import Scores


def read(task, text):
    """Return 1 for each label of the task that is in the cell, and 0 for the others."""
    given = {word.strip() for word in text.split(";")}
    unknown = given - {*task.labels}
    if unknown:
        raise ValueError(f"has {min(unknown)!r}, none of {', '.join(task.labels)}")
    return tuple(float(label in given) for label in task.labels)


def loss(logits, labels):
    """Return the mean sigmoid cross-entropy over the labels: [examples, labels] twice -> [examples], in nats."""
    return optax.losses.sigmoid_binary_cross_entropy(logits, labels).mean(-1)


def score(task, outputs, labels):
    """Return the F1 of all decisions taken together, 2 tp / (2 tp + fp + fn)."""
    wrong = ((outputs > 0) != labels).sum()
    right = ((outputs > 0) * labels).sum()
    return {"micro_f1": float(2 * right / max(2 * right + wrong, 1))}


HEADS = {
    "several": dataclasses.replace(
        BUILT_IN["classification"], kind=Kind(texts=(1, 2), metrics=("micro_f1",), per_class=True, read=read)
    )
}
LOSSES = {"several": loss}
SCORES = {
    "several": Scores(
        predict=lambda _, outputs: (outputs > 0).astype(int),
        score=score,
        answer=lambda _, output: (np.flatnonzero(output > 0).tolist(), float(scipy.special.expit(output).max())),
        probabilities=scipy.special.expit,
        cell=lambda task, row: ";".join(label for label, there in zip(task.labels, row, strict=True) if there),
    )
}
