"""A task's outputs on a whole split: every row once, in the order of the table."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bert_jax.data.batches import Batches
from bert_jax.packing import PackedBatch
from bert_jax.tasks import Task
from eval.metrics import score_task


def predict_split(
    predict_fn: Callable[[PackedBatch], np.ndarray], batches: Batches, check: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Raw outputs of every example: [examples, ...]. Slots without an example are dropped.

    Args:
      check: called before each batch; raises to stop.
    """
    outputs = []
    for number in range(len(batches)):
        check()
        batch = batches[number]
        outputs.append(predict_fn(batch)[np.asarray(batch.weights).reshape(-1) > 0])
    return np.concatenate(outputs)


def evaluate(
    predict_fns: Mapping[Task, Callable[[PackedBatch], np.ndarray]],
    splits: Mapping[Task, Batches],
    check: Callable[[], None],
) -> dict[Task, dict[str, Any]]:
    """Scores of each task on its split; `check` as in `predict_split`."""
    return {
        task: score_task(task, predict_split(predict_fns[task], batches, check), batches.encoded.labels)
        for task, batches in splits.items()
    }
