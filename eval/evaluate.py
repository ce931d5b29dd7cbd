"""A task's outputs on a whole split: every row once, in the order of the table."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bert_jax.data.batches import Batches, ordered_batches
from bert_jax.data.masked import mask_batches
from bert_jax.masking import mask_vocabulary
from bert_jax.packing import PackedBatch
from bert_jax.tasks import Task
from bert_jax.tokenizer import EncodedExamples
from eval.metrics import score_task

HELD_OUT_SEED = 0  # of the masks that masked LM is scored on: the same in every run


def split_batches(
    task: Task, encoded: EncodedExamples, vocab: Mapping[str, int], batch_size: int, shares: int, row_length: int | None
) -> Batches:
    """A split as it is scored: every example once, in the order of the table; for masked LM with masks that stay."""
    batches = ordered_batches(encoded, batch_size, shares, row_length)
    if task.kind != "mlm":
        return batches
    return mask_batches(batches, mask_vocabulary(vocab), HELD_OUT_SEED, per_epoch=len(batches))


def predict_split(
    predict_fn: Callable[[PackedBatch], np.ndarray], batches: Batches, check: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Raw outputs of every example (or masked token): [examples, ...]. Slots without one are dropped.

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
