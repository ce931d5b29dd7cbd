"""Which tokens of a text masked-LM pretraining masks, and by what: a pure function of (seed, epoch, text).

As in BERT (Devlin et al., 2019, 3.1): 15 % of a text's tokens; of those 80 % become [MASK], 10 % a random token, and
10 % stay as they are. The masks are new in each epoch and the same after a resume, and they depend neither on the
batch that a text is in nor on where it lies there. Special tokens are never masked: [CLS] and [SEP] are always where
they are, and to predict [UNK] teaches nothing.

Random numbers are counted, not drawn one after the other: number n of a text is SplitMix64's n-th output
(https://prng.di.unimi.it/splitmix64.c) from a state that is the text's own, so that all texts of a batch, or a
million tokens, are masked by a few operations on arrays.
"""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.tokenizer import SPECIAL_TOKENS

MASKED = 0.15  # of the tokens that are not special
TO_MASK, TO_RANDOM = 0.8, 0.1  # of the masked; the rest stay

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, SplitMix64's step
COUNT, ORDER, KIND, WORD = range(4)  # what a random number decides: each has numbers of its own at each position


class MaskVocabulary(NamedTuple):
    """What masking must know of a vocabulary.

    mask: the id of [MASK].
    special: [special] ids that are never masked and never put in another's place.
    ordinary: [ordinary] all other ids.
    """

    mask: int
    special: np.ndarray
    ordinary: np.ndarray


def mask_vocabulary(vocab: Mapping[str, int]) -> MaskVocabulary:
    """Sorts a vocabulary's ids into special and ordinary ones."""
    special = np.array([vocab[token] for token in SPECIAL_TOKENS], np.int32)
    return MaskVocabulary(vocab["[MASK]"], special, np.setdiff1d(np.array(list(vocab.values()), np.int32), special))


class MaskedTokens(NamedTuple):
    """The masked tokens of a batch, text by text and from left to right: each field is [masked] int32.

    text: the number of the token's text in the batch: example * texts + text, as in `PackedBatch.segment_ids`, less 1.
    position: its position in that text; so `first_token.reshape(-1)[text] + position` is its place in packed rows.
    original: its id, which is to be predicted.
    replacement: the id that stands there instead.
    """

    text: np.ndarray
    position: np.ndarray
    original: np.ndarray
    replacement: np.ndarray


def mask_tokens(
    encoded: EncodedExamples, indices: np.ndarray, vocabulary: MaskVocabulary, seed: int, epoch: int
) -> MaskedTokens:
    """Masks the texts of the examples at `indices`. Nothing is changed in `encoded`.

    A text with n ordinary tokens gets floor(0.15 n + u) masks, u uniform in [0, 1): 15 % on average at every length.
    """
    which = (np.asarray(indices)[:, None] * encoded.texts + np.arange(encoded.texts)).reshape(-1)  # flat text numbers
    starts, lengths = encoded.offsets[which], encoded.offsets[which + 1] - encoded.offsets[which]
    states = _text_states(seed, epoch, which)
    text = np.repeat(np.arange(len(which)), lengths)  # [tokens], as the next two
    position = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    original = encoded.tokens[np.repeat(starts, lengths) + position]

    ordinary = np.flatnonzero(~np.isin(original, vocabulary.special))
    chosen = ordinary[_choose(states, text[ordinary], position[ordinary])]
    text, position, original = text[chosen], position[chosen], original[chosen]  # [masked]

    kind = _uniform(_random(states[text], position, KIND))
    word = vocabulary.ordinary[_random(states[text], position, WORD) % np.uint64(len(vocabulary.ordinary))]
    replacement = np.where(kind < TO_MASK, vocabulary.mask, np.where(kind < TO_MASK + TO_RANDOM, word, original))
    return MaskedTokens(*(field.astype(np.int32) for field in (text, position, original, replacement)))


def max_masked(lengths: np.ndarray) -> int:
    """The most tokens that any epoch masks in texts of these lengths, [CLS] and [SEP] included in the lengths.

    >>> max_masked(np.array([2, 3, 22, 23]))
    9
    """
    ordinary = np.maximum(np.asarray(lengths) - 2, 0)
    return int(np.minimum(ordinary, np.floor(MASKED * ordinary) + 1).sum())


def _choose(states: np.ndarray, text: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Which of the ordinary tokens are masked: a random subset of each text, as ascending indices.

    Args:
      states: [texts].
      text, position: [ordinary tokens], text by text.
    """
    sizes = np.bincount(text, minlength=len(states))  # [texts]
    whole = np.floor(MASKED * sizes)
    counts = whole + (_uniform(_random(states, np.zeros_like(sizes), COUNT)) < MASKED * sizes - whole)
    shuffled = np.lexsort((_random(states[text], position, ORDER), text))  # each text's tokens in random order
    rank = np.arange(len(text)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(shuffled[rank < np.repeat(counts, sizes)])


def _text_states(seed: int, epoch: int, texts: np.ndarray) -> np.ndarray:
    """Where each text's random numbers start: [texts] uint64."""
    state = np.random.SeedSequence([seed, zlib.crc32(b"mask"), epoch]).generate_state(1, np.uint64)
    return _mix(state + texts.astype(np.uint64) * GOLDEN)


def _random(states: np.ndarray, positions: np.ndarray, purpose: int) -> np.ndarray:
    """One uint64 for each (state, position) and what it is for."""
    return _mix(states + (positions.astype(np.uint64) * np.uint64(4) + np.uint64(purpose)) * GOLDEN)


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's output function, a bijection of uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _uniform(x: np.ndarray) -> np.ndarray:
    """From uint64 to [0, 1)."""
    return (x >> np.uint64(11)) * 2.0**-53
