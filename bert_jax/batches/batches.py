"""Encoded examples -> packed batches: which examples, in which shape, cut into a share for each device."""

import dataclasses
import math
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Int

from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.order import batch_indices, batches_per_epoch
from bert_jax.batches.packing import BatchShape, PackedBatch, assign_rows, pack, plan_shapes


@dataclasses.dataclass(frozen=True)
class Batches:
    """The batches of one split of one task, in a few static shapes.

    Every batch is a PackedBatch of NumPy arrays with one more leading axis, [shares, ...]: a share for each device, or
    several that it takes one after the other. Of several processes each packs its own shares alone.
    """

    encoded: EncodedExamples
    indices: Sequence[Int[np.ndarray, " _examples"]]  # of the examples in each batch
    shapes: Sequence[BatchShape]  # of each batch
    slots: int  # examples that a share has room for
    shares: int
    own: range | None = dataclasses.field(default=None, kw_only=True)  # the shares that are packed here; None: all

    def __len__(self) -> int:
        return len(self.indices)

    def num_examples(self, number: int) -> int:
        """Examples of a batch."""
        return len(self.indices[number])

    def __getitem__(self, number: int) -> PackedBatch:
        shares = split_shares(self.indices[number], self.shares)
        packed = [self.pack_share(number, shares[share]) for share in self.own or range(self.shares)]
        return jax.tree.map(lambda *arrays: np.stack(arrays), *packed)

    def pack_share(self, number: int, indices: Int[np.ndarray, " examples"]) -> PackedBatch:
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
        return sum(self.shares * shape.tokens for shape in self.shapes)


def training_batches(
    encoded: EncodedExamples, task: str, seed: int, batch_size: int, count: int, shares: int, row_length: int | None
) -> Batches:
    """The first `count` batches that a run takes from a task, epoch after epoch, each freshly shuffled.

    Batch n is batch i of epoch e with e, i = divmod(n, batches an epoch). An epoch's last batch may be smaller.
    """
    size, per_epoch = len(encoded), batches_per_epoch(len(encoded), batch_size)
    indices = [batch_indices(size, batch_size, seed, task, *divmod(number, per_epoch)) for number in range(count)]
    return _plan(encoded, indices, batch_size, shares, row_length)


def evaluation_batches(encoded: EncodedExamples, batch_size: int, shares: int, row_length: int | None) -> Batches:
    """Every example once, in as few full batches as there can be: what shares a batch with what makes no difference.

    A batch takes the next examples of the table for as long as they fit its rows, which have room for the tokens of
    `batch_size` average ones. Examples with a text longer than a row come last, in longer rows.

    Args:
      row_length: tokens a row, or None for whichever of 64, 128, 256 and 512 computes the least.
    """
    longest = encoded.lengths.max(axis=1, initial=1)
    longer_rows = -(-int(longest.max(initial=1)) // 32) * 32
    plans: list[list[tuple[BatchShape, list[np.ndarray]]]] = []
    for length in (row_length,) if row_length else (64, 128, 256, 512):
        groups = [(length, np.flatnonzero(longest <= length)), (longer_rows, np.flatnonzero(longest > length))]
        plans.append([_fill(encoded, group, rows, batch_size, shares) for rows, group in groups if len(group)])
    best = min(plans, key=lambda plan: sum(len(indices) * shape.cost for shape, indices in plan))
    indices = [batch for _, batches in best for batch in batches]
    shapes = [shape for shape, batches in best for _ in batches]
    return Batches(encoded, indices, shapes, max(-(-len(batch) // shares) for batch in indices), shares)


def _fill(
    encoded: EncodedExamples, group: Int[np.ndarray, " group"], row_length: int, batch_size: int, shares: int
) -> tuple[BatchShape, list[Int[np.ndarray, " _examples"]]]:
    """The shape of full batches of some examples, and the examples of each, in the order in which they are given."""
    tokens = np.cumsum(encoded.lengths[group].sum(axis=1))

    def rows_needed(examples: Int[np.ndarray, " examples"]) -> int:
        lengths = (encoded.lengths[share].reshape(-1) for share in split_shares(examples, shares))
        return max(assign_rows(share, row_length)[2] for share in lengths)

    average = int(tokens[-1]) * min(1, batch_size / len(group)) / shares  # tokens of a share
    rows = max(math.ceil(average / row_length), encoded.texts)  # in as many rows, an example always has room
    batches: list[np.ndarray] = []
    start = 0
    while start < len(group):
        before = int(tokens[start - 1]) if start else 0
        end = int(np.searchsorted(tokens, before + shares * rows * row_length, "right"))
        while rows_needed(group[start:end]) > rows:
            end -= 1
        batches.append(group[start:end])
        start = end
    return BatchShape(max(map(rows_needed, batches)), row_length), batches


def _plan(
    encoded: EncodedExamples,
    indices: list[Int[np.ndarray, " _examples"]],
    batch_size: int,
    shares: int,
    row_length: int | None,
) -> Batches:
    lengths, slots = encoded.lengths, -(-batch_size // shares)
    by_share = [[lengths[share].reshape(-1) for share in split_shares(batch, shares)] for batch in indices]
    return Batches(encoded, indices, plan_shapes(by_share, row_length), slots, shares)


def split_shares(indices: Int[np.ndarray, " examples"], shares: int) -> list[Int[np.ndarray, " _share"]]:
    """A batch's examples, cut evenly into one share a device; there may be empty ones at the end."""
    return np.array_split(indices, shares)
