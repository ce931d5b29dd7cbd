"""Texts that a run is asked about, and what it says of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bert_jax.data.tables import Example
from bert_jax.errors import InputError
from bert_jax.tasks import Task


class Prediction(NamedTuple):
    """What a run says of a text or a pair.

    label: as it stands in the task's tables; of a similarity the nearest whole number.
    score: the probability of the label; of a paraphrase that it is one; of a similarity the raw output.
    probabilities: of each label, from the first on; a similarity has none.
    words: what the label means.
    """

    label: Any
    score: float
    probabilities: tuple[float, ...]
    words: str


def as_examples(texts: Sequence[str]) -> list[Example]:
    """Make an example without a label of each text.

    >>> as_examples(["a text"])
    [Example(id='0', texts=('a text',), label=None)]
    """
    return [Example(str(number), (text,), None) for number, text in enumerate(texts)]


def task_examples(task: Task, texts: Sequence[Any]) -> list[Example]:
    """Make an example without a label of each text, or of each pair, (first, second).

    Raises:
      InputError: a text is none, or no pair where the task takes pairs.
    """
    return [_task_example(task, number, text) for number, text in enumerate(texts)]


def _task_example(task: Task, number: int, text: Any) -> Example:
    texts = (text,) if isinstance(text, str) else tuple(text) if isinstance(text, (tuple, list)) else ()
    wanted = len(task.text_columns)
    if len(texts) != wanted or not all(isinstance(each, str) for each in texts):
        shape = "a text" if wanted == 1 else "a pair, (first, second)"
        raise InputError(f"texts[{number}] is {text!r:.100}, but task {task.name} takes {shape}")
    return Example(str(number), texts, None)
