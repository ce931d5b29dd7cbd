"""Dropout keyed by example: whether a value is dropped depends on what it is, never on where it lies in a batch.

The mask of a feature of a token is a hash of (seed, step, place in the network, example, position in its text,
feature). So packing, padding and the number of devices do not change a run, and nothing has to be stored. The hash is
Wellons's 32-bit finalizer `lowbias32` (https://nullprogram.com/blog/2018/07/31/), one round a token and one a feature:
elementwise, so XLA fuses it into its neighbours.
"""

import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Bool, Float, Int, UInt32

from bert_jax.batches.packing import AnyArray, PackedBatch

GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: consecutive numbers land far apart


def mix(x: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """A bijection of uint32 in which every input bit moves every output bit with probability near 1/2."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


class DropoutNoise(struct.PyTreeNode):
    """What the masks of one step are made from.

    key: of the seed and the step.
    token: a number that is the same wherever the token lies.
    text: likewise for a whole text.
    """

    key: UInt32[Array, ""]
    token: UInt32[Array, "rows length"]
    text: UInt32[Array, "examples texts"]


def make_noise(seed: int, step: int | Int[AnyArray, ""], batch: PackedBatch, max_positions: int) -> DropoutNoise:
    """The noise of one step on one batch."""
    num_examples, texts = jnp.shape(batch.first_token)
    text = jnp.asarray(batch.example_ids, jnp.uint32)[:, None] * texts + jnp.arange(texts, dtype=jnp.uint32)[None, :]
    number = jnp.clip(jnp.asarray(batch.segment_ids) - 1, 0, num_examples * texts - 1)
    token = text.reshape(-1)[number] * jnp.uint32(max_positions) + jnp.asarray(batch.position_ids, jnp.uint32)
    key = mix(mix(jnp.uint32(seed)) + jnp.asarray(step, jnp.uint32))
    return DropoutNoise(key=key, token=token, text=text)


def shift_sites(noise: DropoutNoise | None, by: int) -> DropoutNoise | None:
    """Noise whose site s is site s + `by` of what is given."""
    return None if noise is None else noise.replace(key=noise.key + jnp.uint32(by) * jnp.uint32(GOLDEN))


def keep_mask(
    key: UInt32[Array, ""], site: int, counter: UInt32[Array, "*#shape"], feature: UInt32[Array, "*#shape"], rate: float
) -> Bool[Array, "*shape"]:
    """True with probability 1 - rate, independently for each site, counter and feature.

    Args:
      site: which dropout of the network this is.
      counter: the token's or text's number; the outer hash.
      feature: which of its values; the inner hash.
    """
    outer = mix(counter ^ mix(key + jnp.uint32(site) * jnp.uint32(GOLDEN)))
    return mix(outer + feature * jnp.uint32(GOLDEN)) >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def dropout(
    x: Float[Array, "*shape features"],
    rate: float,
    noise: DropoutNoise | None,
    site: int,
    counter: UInt32[Array, "*shape"] | None = None,
) -> Float[Array, "*shape features"]:
    """Zeroes values of x with probability `rate` and scales the others up. No noise, no dropout.

    Args:
      counter: what x is the features of; by default the number of each token.
    """
    if noise is None or rate == 0.0:
        return x
    counter = noise.token if counter is None else counter
    feature = jnp.expand_dims(jnp.arange(x.shape[-1], dtype=jnp.uint32), tuple(range(x.ndim - 1)))
    keep = keep_mask(noise.key, site, counter[..., None], feature, rate)
    return jnp.where(keep, x / (1.0 - rate), 0.0).astype(x.dtype)
