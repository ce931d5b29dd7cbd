"""A task's outputs on a whole split: every row once, in full batches."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bert_jax.batches.batches import Batches, evaluation_batches
from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.masked import mask_batches
from bert_jax.batches.masking import mask_vocabulary
from bert_jax.batches.packing import PackedBatch
from bert_jax.tasks import Task
from eval.metrics import score_task

HELD_OUT_SEED = 0  # of the masks that masked LM is scored on: the same in every run


def split_batches(
    task: Task, encoded: EncodedExamples, vocab: Mapping[str, int], batch_size: int, shares: int, row_length: int | None
) -> Batches:
    """A split as it is scored: every example once; for masked LM with masks that stay."""
    batches = evaluation_batches(encoded, batch_size, shares, row_length)
    if not task.is_masked_lm:
        return batches
    return mask_batches(batches, mask_vocabulary(vocab), HELD_OUT_SEED, per_epoch=len(batches))


def predict_split(
    predict_fn: Callable[[PackedBatch], np.ndarray], batches: Batches, check: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Raw outputs of every example, in the order of the table: [examples, ...].

    Of masked LM they are those of every masked token, in the order of the batches.

    Args:
      predict_fn: a batch -> the outputs of all its examples, in their order.
      check: called before each batch; raises to stop.
    """
    outputs, masked = [], False
    for number in range(len(batches)):
        check()
        batch = batches[number]
        masked = batch.masked is not None
        outputs.append(predict_fn(batch))
    in_batches = np.concatenate(outputs)
    return in_batches if masked else in_batches[np.argsort(np.concatenate(batches.indices))]


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
