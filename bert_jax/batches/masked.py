"""Batches for masked LM: the same texts in the same rows, with some of their tokens masked, anew in each epoch."""

import dataclasses

import numpy as np

from bert_jax.batches.batches import Batches, split_shares
from bert_jax.batches.masking import MaskVocabulary, mask_tokens, max_masked
from bert_jax.batches.packing import PackedBatch


@dataclasses.dataclass(frozen=True)
class MaskedBatches(Batches):
    """Batches with masks that are a pure function of (seed, epoch, text), so a run resumes by skipping.

    A share has room for as many masked tokens as any share of any batch can have in any epoch: one static shape.
    """

    vocabulary: MaskVocabulary
    seed: int
    per_epoch: int  # batches that hold every text once
    masked_slots: int

    def pack_share(self, number: int, indices: np.ndarray) -> PackedBatch:
        """Labels are the masked tokens' own ids; the weight of a slot without a masked token is 0."""
        batch = super().pack_share(number, indices)
        masked = mask_tokens(self.encoded, indices, self.vocabulary, self.seed, epoch=number // self.per_epoch)
        place = np.asarray(batch.first_token).reshape(-1)[masked.text] + masked.position
        token_ids = np.array(batch.token_ids)
        token_ids.reshape(-1)[place] = masked.replacement

        def in_slots(values: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
            full = np.zeros(self.masked_slots, dtype)
            full[: len(values)] = values
            return full

        return batch.replace(
            token_ids=token_ids,
            labels=in_slots(masked.original, np.float32),
            weights=in_slots(np.ones(len(place)), np.float32),
            masked=in_slots(place, np.int32),
        )


def mask_batches(batches: Batches, vocabulary: MaskVocabulary, seed: int, per_epoch: int) -> MaskedBatches:
    """The same batches, masked; batch n with the masks of epoch n // per_epoch."""
    lengths = batches.encoded.lengths
    shares = (share for batch in batches.indices for share in split_shares(batch, batches.shares))
    slots = max(max_masked(lengths[share]) for share in shares)
    return MaskedBatches(**vars(batches), vocabulary=vocabulary, seed=seed, per_epoch=per_epoch, masked_slots=slots)
