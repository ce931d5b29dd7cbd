"""A task's raw output, as an answer: the label, how sure it is, and what that means in words."""

from typing import Any

from bert_jax.tasks import Task
from eval.metrics import SCORES


def _named(task: Task, label: Any) -> Any:
    """A label, or each of several, as it stands in the tables."""
    if isinstance(label, (list, tuple)):
        return [_named(task, each) for each in label]
    return task.labels[label] if task.labels else label


def probabilities(task: Task, output: Any) -> list[float]:
    """The probability of each label, from 0 on; a similarity has none.

    >>> from bert_jax.tasks import TASKS
    >>> probabilities(TASKS["quora"], 0.0), probabilities(TASKS["sts"], 2.5)
    ([0.5, 0.5], [])
    """
    return [round(float(value), 6) for value in SCORES[task.kind].probabilities(output)]


def in_words(task: Task, output: Any) -> dict[str, Any]:
    """All that can be said of a raw output: its label, as it stands in the tables, a score, and what they mean.

    The score is the probability of the label for a classification, of "is a paraphrase" for a paraphrase, and for a
    similarity the raw score, of which the label is the nearest whole number in range. `highest` is the largest score,
    that of a similarity being no probability.
    """
    label, score = SCORES[task.kind].answer(task, output)
    words = task.label_words or [str(_named(task, each)) for each in range(task.max_label + 1)]
    chances = probabilities(task, output)
    several = isinstance(label, (list, tuple))
    return {
        "task": task.name,
        "kind": task.kind,
        "label": _named(task, label),
        "score": round(score, 6),
        "words": ", ".join(words[each] for each in label) if several else words[label],
        "highest": 1 if chances else task.max_label,
        "labels": [
            {"label": number, "words": word, "probability": chance}
            for number, (word, chance) in enumerate(zip(words, chances, strict=False))
        ],
    }
