"""Token ids -> PackedBatch: several texts in a row, so that little of what is computed is padding.

Half of a batch padded to its longest text is padding. Packing the same examples into rows of a fixed length leaves
about a tenth, and changes neither the loss nor the gradients: attention stays inside a text, positions restart in
each, and dropout is keyed by the example.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float32, Int, Int32, Shaped

from bert_jax.batches.encoded import EncodedExamples

AnyArray = np.ndarray | Array  # NumPy's, JAX's, or what JAX has in its place while it traces

# Work of a token beside its row's length, in units of what one attended position costs it: a row twice as long must
# save this much padding to pay for itself.
TOKEN_COST = 512


class PackedBatch(struct.PyTreeNode):
    """A batch of examples, of static shape. Slots without an example have weight 0.

    A step sees one share of a batch. Outside of it every field has more axes in front: one of the shares, and where
    updates are accumulated one of the devices before it.

    segment_ids: segment 0 is padding; 1 + example * texts + text is that text, in whatever row it lies.
    position_ids: count from 0 in each text.
    first_token: index into the flattened rows of each text's [CLS].
    labels: [examples], or [examples, numbers] of a kind with several numbers a label; of masked tokens [masked].
    weights: of what is predicted, the examples or the masked tokens.
    example_ids: the example's row in its table, which dropout is keyed by.
    masked: index into the flattened rows of each masked token; None where nothing is masked.
    """

    token_ids: Int32[AnyArray, "*share rows length"]
    segment_ids: Int32[AnyArray, "*share rows length"]
    position_ids: Int32[AnyArray, "*share rows length"]
    token_type_ids: Int32[AnyArray, "*share rows length"]
    first_token: Int32[AnyArray, "*share examples texts"]
    labels: Float32[AnyArray, "..."]
    weights: Float32[AnyArray, "*share targets"]
    example_ids: Int32[AnyArray, "*share examples"]
    masked: Int32[AnyArray, "*share masked"] | None = None


class BatchShape(NamedTuple):
    """Rows of a packed batch and tokens a row."""

    rows: int
    length: int

    @property
    def tokens(self) -> int:
        """Tokens that are computed, real ones and padding."""
        return self.rows * self.length

    @property
    def cost(self) -> int:
        """What computing a batch of this shape costs, in units of one attended position."""
        return self.tokens * (TOKEN_COST + self.length)


def assign_rows(
    lengths: Int[np.ndarray, " texts"], row_length: int
) -> tuple[Int32[np.ndarray, " texts"], Int32[np.ndarray, " texts"], int]:
    """Best-fit decreasing: each text, longest first, goes to the row with the least room that still takes it.

    Args:
      lengths: each between 1 and row_length.

    Returns:
      The row of each text, its first column, and the number of rows.
    """
    row_of, column_of = np.zeros(len(lengths), np.int32), np.zeros(len(lengths), np.int32)
    rows_with_room: list[list[int]] = [[] for _ in range(row_length + 1)]
    occupied = 0  # bit r is set where rows_with_room[r] is not empty: the smallest that fits is one shift away
    rows = 0
    for text in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[text])
        fitting = occupied >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = rows_with_room[room].pop()
            if not rows_with_room[room]:
                occupied ^= 1 << room
        else:
            row, room, rows = rows, row_length, rows + 1
        row_of[text], column_of[text] = row, row_length - room
        rows_with_room[room - length].append(row)
        occupied |= 1 << (room - length)
    return row_of, column_of, rows


def pack(encoded: EncodedExamples, indices: Int[np.ndarray, " examples"], shape: BatchShape, slots: int) -> PackedBatch:
    """Packs the examples at `indices` (at most `slots`) into a batch of NumPy arrays.

    Raises:
      ValueError: they need more rows than the shape has.
    """
    texts = encoded.texts
    which = (np.asarray(indices)[:, None] * texts + np.arange(texts)).reshape(-1)  # flat text numbers
    starts, lengths = encoded.offsets[which], encoded.offsets[which + 1] - encoded.offsets[which]
    row_of, column_of, rows = assign_rows(lengths, shape.length)
    if rows > shape.rows or len(indices) > slots:
        raise ValueError(f"{len(indices)} examples in {rows} rows do not fit {slots} slots in {shape.rows} rows")
    begin = row_of * shape.length + column_of  # [texts], into the flattened rows
    position = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    target = np.repeat(begin, lengths) + position
    source = np.repeat(starts, lengths) + position

    def laid_out(values: Int[np.ndarray, " tokens"]) -> Int32[np.ndarray, "rows length"]:
        flat = np.zeros(shape.rows * shape.length, np.int32)
        flat[target] = values
        return flat.reshape(shape)

    def in_slots(values: Shaped[np.ndarray, "used ..."], dtype: type[np.generic]) -> Shaped[np.ndarray, "slots ..."]:
        full = np.zeros((slots, *values.shape[1:]), dtype)
        full[: len(values)] = values
        return full

    return PackedBatch(
        token_ids=laid_out(encoded.tokens[source]),
        segment_ids=laid_out(np.repeat(1 + np.arange(len(which)), lengths)),
        position_ids=laid_out(position),
        token_type_ids=laid_out(encoded.token_types[source]),
        first_token=in_slots(begin.reshape(-1, texts), np.int32),
        labels=in_slots(encoded.labels[indices], np.float32),
        weights=in_slots(np.ones(len(indices)), np.float32),
        example_ids=in_slots(np.asarray(indices), np.int32),
    )


# A second shape is compiled only if it saves this share of the computed tokens.
WORTH_COMPILING = 0.05


Shares = Sequence[Int[np.ndarray, " _texts"]]  # of one batch: the text lengths of each device's share


def plan_shapes(batches: Sequence[Shares], row_length: int | None = None) -> list[BatchShape]:
    """The shape of each batch of a task: one shape for all, or one of two.

    Data order is known before a run starts, so this looks at every batch of it. Of two shapes the larger takes every
    batch; the smaller takes those that fit, and is the one that makes the total cheapest.

    Args:
      row_length: tokens a row, or None to choose among 64, 128, 256 and 512. The batches that hold a longer text get
        rows of the task's longest text, rounded up to a multiple of 32.
    """
    longest = -(-max(int(lengths.max(initial=1)) for shares in batches for lengths in shares) // 32) * 32
    short = {row_length} if row_length else {64, 128, 256, 512}
    long = max(longest, min(short))
    rows = {length: [_count_rows(shares, length) for shares in batches] for length in {*short, long}}
    singles = [[BatchShape(max(rows[length]), length)] for length in sorted(rows) if max(rows[length]) < TOO_LONG]
    pairs: list[list[BatchShape]] = []
    for length in sorted(short):
        for limit in sorted(set(rows[length])):
            rest = [b for a, b in zip(rows[length], rows[long], strict=True) if a > limit]
            if rest and limit < TOO_LONG:
                pairs.append([BatchShape(limit, length), BatchShape(max(rest), long)])

    def assign(plan: list[BatchShape]) -> list[BatchShape]:
        """Each batch in the first shape that takes it."""
        return [plan[0] if count <= plan[0].rows else plan[-1] for count in rows[plan[0].length]]

    def cost(plan: list[BatchShape]) -> int:
        return sum(shape.cost for shape in assign(plan))

    single = min(singles, key=cost)
    pair = min(pairs, key=cost, default=single)
    return assign(pair if cost(pair) < (1 - WORTH_COMPILING) * cost(single) else single)


TOO_LONG = 1 << 30  # rows that no shape has


def _count_rows(shares: Shares, row_length: int) -> int:
    """Rows that the fullest share of a batch needs; TOO_LONG if one of its texts is longer than a row."""
    if max(int(lengths.max(initial=0)) for lengths in shares) > row_length:
        return TOO_LONG
    return max(assign_rows(lengths, row_length)[2] for lengths in shares)
