"""A task's raw output, as an answer: the label, how sure it is, and what that means in words."""

from typing import Any

import numpy as np
import scipy.special

from bert_jax.tasks import Task


def describe_output(task: Task, output: Any) -> dict[str, Any]:
    """A raw output in words: label, as it stands in the tables, and score.

    The score is the probability of the label for a classification, of "is a paraphrase" for a paraphrase, and for a
    similarity the raw score, of which the label is the nearest whole number in range.
    """
    if task.kind == "classification":
        probabilities = scipy.special.softmax(output)
        label = int(probabilities.argmax())
        return {"label": _named(task, label), "score": round(float(probabilities[label]), 6)}
    if task.kind == "paraphrase":
        return {"label": _named(task, int(output > 0)), "score": round(float(scipy.special.expit(output)), 6)}
    return {"label": int(np.clip(np.round(output), 0, task.max_label)), "score": round(float(output), 6)}


def _named(task: Task, label: int) -> str | int:
    """A label as it stands in the tables."""
    return task.labels[label] if task.labels else label


def probabilities(task: Task, output: Any) -> list[float]:
    """The probability of each label, from 0 on; a similarity has none.

    >>> from bert_jax.tasks import TASKS
    >>> probabilities(TASKS["quora"], 0.0), probabilities(TASKS["sts"], 2.5)
    ([0.5, 0.5], [])
    """
    if task.kind == "classification":
        return [round(float(value), 6) for value in scipy.special.softmax(output)]
    if task.kind == "paraphrase":
        return [round(float(scipy.special.expit(sign * output)), 6) for sign in (-1, 1)]
    return []


def in_words(task: Task, output: Any) -> dict[str, Any]:
    """All that can be said of a raw output: what `describe_output` says, and the words and probability of each label.

    `highest` is the largest score, that of a similarity being no probability.
    """
    described = describe_output(task, output)
    words = task.label_words or [str(_named(task, label)) for label in range(task.max_label + 1)]
    chances = probabilities(task, output)
    return {
        "task": task.name,
        "kind": task.kind,
        **described,
        "words": words[task.labels.index(described["label"]) if task.labels else described["label"]],
        "highest": 1 if chances else task.max_label,
        "labels": [
            {"label": label, "words": word, "probability": chance}
            for label, (word, chance) in enumerate(zip(words, chances, strict=False))
        ],
    }
