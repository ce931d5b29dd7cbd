"""Which examples make up a batch: a pure function of (seed, task, epoch, batch), so there is no state to save."""

import functools
import zlib

import numpy as np


@functools.lru_cache(maxsize=16)  # an epoch's batches all ask for the same permutation
def epoch_order(num_examples: int, seed: int, task: str, epoch: int) -> np.ndarray:
    """The order of a task's examples in one epoch: a permutation of range(num_examples)."""
    entropy = [seed, zlib.crc32(task.encode()), epoch]
    order = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy))).permutation(num_examples)
    order.flags.writeable = False
    return order


def batches_per_epoch(num_examples: int, batch_size: int) -> int:
    """Number of batches that hold every example once; the last may be smaller."""
    return -(-num_examples // batch_size)


def batch_indices(num_examples: int, batch_size: int, seed: int, task: str, epoch: int, batch: int) -> np.ndarray:
    """Indices of the examples in batch `batch` of epoch `epoch`: [at most batch_size]."""
    order = epoch_order(num_examples, seed, task, epoch)
    return order[batch * batch_size : (batch + 1) * batch_size]
