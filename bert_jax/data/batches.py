"""Encoded examples -> packed batches: which examples, in which shape, cut into a share for each device."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from bert_jax.data.order import batch_indices, batches_per_epoch
from bert_jax.packing import BatchShape, PackedBatch, pack, plan_shapes
from bert_jax.tokenizer import EncodedExamples


@dataclasses.dataclass(frozen=True)
class Batches:
    """The batches of one split of one task, in a few static shapes.

    Every batch is a PackedBatch of NumPy arrays with one more leading axis, [shares, ...], one share a device.
    """

    encoded: EncodedExamples
    indices: Sequence[np.ndarray]  # of the examples in each batch
    shapes: Sequence[BatchShape]  # of each batch
    slots: int  # examples that a share has room for
    shares: int

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> PackedBatch:
        shares = split_shares(self.indices[number], self.slots, self.shares)
        packed = [self.pack_share(number, share) for share in shares]
        return jax.tree.map(lambda *arrays: np.stack(arrays), *packed)

    def pack_share(self, number: int, indices: np.ndarray) -> PackedBatch:
        """One device's share of a batch, the examples at `indices`."""
        return pack(self.encoded, indices, self.shapes[number], self.slots)

    @property
    def real_tokens(self) -> int:
        lengths = self.encoded.lengths
        return sum(int(lengths[batch].sum()) for batch in self.indices)

    @property
    def padded_tokens(self) -> int:
        """Tokens that would be computed with one text a row, each batch as long as its longest text."""
        lengths = self.encoded.lengths
        return sum(lengths[batch].size * int(lengths[batch].max()) for batch in self.indices)

    @property
    def computed_tokens(self) -> int:
        return sum(self.shares * shape.rows * shape.length for shape in self.shapes)


def training_batches(
    encoded: EncodedExamples, task: str, seed: int, batch_size: int, count: int, shares: int, row_length: int | None
) -> Batches:
    """The first `count` batches that a run takes from a task, epoch after epoch, each freshly shuffled.

    Batch n is batch i of epoch e with e, i = divmod(n, batches an epoch). An epoch's last batch may be smaller.
    """
    size, per_epoch = len(encoded), batches_per_epoch(len(encoded), batch_size)
    indices = [batch_indices(size, batch_size, seed, task, *divmod(number, per_epoch)) for number in range(count)]
    return _plan(encoded, indices, batch_size, shares, row_length)


def ordered_batches(encoded: EncodedExamples, batch_size: int, shares: int, row_length: int | None) -> Batches:
    """Every example once, in the order of the table."""
    indices = [np.arange(start, min(start + batch_size, len(encoded))) for start in range(0, len(encoded), batch_size)]
    return _plan(encoded, indices, batch_size, shares, row_length)


def _plan(
    encoded: EncodedExamples, indices: list[np.ndarray], batch_size: int, shares: int, row_length: int | None
) -> Batches:
    lengths, slots = encoded.lengths, -(-batch_size // shares)
    by_share = [[lengths[share].reshape(-1) for share in split_shares(batch, slots, shares)] for batch in indices]
    return Batches(encoded, indices, plan_shapes(by_share, row_length), slots, shares)


def split_shares(indices: np.ndarray, slots: int, shares: int) -> list[np.ndarray]:
    """A batch's examples, cut into one share a device; the last ones may be smaller, or empty."""
    return [indices[share * slots : (share + 1) * slots] for share in range(shares)]
