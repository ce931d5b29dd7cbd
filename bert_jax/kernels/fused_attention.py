"""Self-attention in one kernel on a GPU, and one for its gradients; up to rounding as `modules.SelfAttention` has it.

At the lengths of packed rows, attention's arithmetic is a few percent of a step. Written as products and a softmax it
takes a third of it all the same: XLA lays queries, keys and values out anew for its products, and each step of the
softmax and its dropout goes through memory. Here a kernel reads one head of one row where `qkv` has it, and nothing
of size length x length leaves the chip; the weights are computed again for the gradients (Dao et al., FlashAttention,
2022, without its tiles, since a whole row fits). Written in Pallas, for its Triton compiler.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from bert_jax.dropout import DropoutNoise, keep_mask

MIN_LENGTH = 16  # of a row: the smallest product that Triton has
MASKED = -1e9


class Dropout(NamedTuple):
    """The dropout of the weights, as `keep_mask` is told of it.

    site: which of a layer's it is.
    max_positions: a key's feature is head * max_positions + its position.
    """

    rate: float
    site: int
    max_positions: int


def interpreted() -> bool:
    """Whether the kernels are computed step by step by JAX, to be tested without a GPU."""
    return jax.default_backend() == "cpu"


def attend(qkv: Array, segment_ids: Array, positions: Array, noise: DropoutNoise | None, dropout: Dropout) -> Array:
    """Attention of each token to those of its own text: [rows, length, heads, head_size], of `qkv`'s type.

    Whether there is room for it is asked before (`modules.fits_kernel`); XLA refuses to compile what does not fit.
    Tokens of segment 0, padding, attend to one another.

    Args:
      qkv: [rows, length, 3, heads, head_size], queries, keys and values; a head's size is a power of two, 16 or more.
      segment_ids, positions: [rows, length] int32; positions are for the dropout.
      noise: of the dropout; None for none.
    """
    if noise is None or dropout.rate == 0.0:
        return _attend(qkv, (segment_ids,), dropout._replace(rate=0.0))
    return _attend(qkv, (segment_ids, positions, noise.token, noise.key.reshape(1)), dropout)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _attend(qkv: Array, integers: tuple[Array, ...], dropout: Dropout) -> Array:
    return _forward(qkv, integers, dropout)[0]


def _forward(qkv: Array, integers: tuple[Array, ...], dropout: Dropout) -> tuple[Array, tuple]:
    rows, length, _, heads, head_size = qkv.shape
    out = jax.ShapeDtypeStruct((rows, length, heads, head_size), qkv.dtype)
    return _call(_forward_kernel, dropout, qkv, integers, (), out), (qkv, integers)


def _backward(dropout: Dropout, inputs: tuple[Array, tuple[Array, ...]], gradient: Array) -> tuple[Array, None]:
    qkv, integers = inputs
    out = jax.ShapeDtypeStruct(qkv.shape, qkv.dtype)
    return _call(_backward_kernel, dropout, qkv, integers, (gradient,), out), None


_attend.defvjp(_forward, _backward)


def _call(
    kernel: Any,
    dropout: Dropout,
    qkv: Array,
    integers: tuple[Array, ...],
    gradients: tuple[Array, ...],
    out: jax.ShapeDtypeStruct,
) -> Array:
    """Runs a kernel once for each head of each row."""
    rows, length, _, heads, head_size = qkv.shape
    block = max(MIN_LENGTH, pl.next_power_of_2(length))  # as Triton wants it
    of_row = pl.BlockSpec((None, block), lambda row, _head: (row, 0))
    of_qkv = pl.BlockSpec((None, block, 3, None, head_size), lambda row, head: (row, 0, 0, head, 0))
    of_context = pl.BlockSpec((None, block, None, head_size), lambda row, head: (row, 0, head, 0))
    of_key = pl.BlockSpec((1,), lambda _row, _head: (0,))
    of_integers = [of_row, of_row, of_row, of_key][: len(integers)]
    return pl.pallas_call(
        functools.partial(kernel, length, dropout),
        out_shape=out,
        grid=(rows, heads),
        in_specs=[of_qkv, of_integers, [of_context] * len(gradients)],
        out_specs=of_qkv if gradients else of_context,
        compiler_params=plgpu.CompilerParams(num_warps=8 if block > 64 else 4, num_stages=1),
        interpret=interpreted(),
    )(qkv, list(integers), list(gradients))


def _forward_kernel(length: int, dropout: Dropout, qkv, integers, _, context) -> None:
    there = jnp.arange(len(context)) < length
    value = _load(qkv.at[:, jnp.int32(2)], there)
    weights, keep = _weights(dropout, qkv, integers, there)
    dropped = weights if keep is None else jnp.where(keep, weights / (1.0 - dropout.rate), 0.0)
    plgpu.store(context, _dot(dropped.astype(value.dtype), value, 1, 0).astype(value.dtype), mask=there[:, None])


def _backward_kernel(length: int, dropout: Dropout, qkv, integers, gradients, of_qkv) -> None:
    there = jnp.arange(len(of_qkv)) < length
    query, key, value = (_load(qkv.at[:, jnp.int32(part)], there) for part in range(3))
    weights, keep = _weights(dropout, qkv, integers, there)
    of_context = _load(gradients[0], there)
    dropped, of_weights = weights, _dot(of_context, value, 1, 1)
    if keep is not None:
        dropped, of_weights = (jnp.where(keep, x / (1.0 - dropout.rate), 0.0) for x in (dropped, of_weights))
    of_scores = weights * (of_weights - jnp.sum(of_weights * weights, axis=-1, keepdims=True))
    of_scores = (of_scores / query.shape[-1] ** 0.5).astype(query.dtype)
    of_value = _dot(dropped.astype(value.dtype), of_context, 0, 0)
    for part, of_part in enumerate((_dot(of_scores, key, 1, 0), _dot(of_scores, query, 0, 0), of_value)):
        plgpu.store(of_qkv.at[:, jnp.int32(part)], of_part.astype(query.dtype), mask=there[:, None])


def _weights(dropout: Dropout, qkv, integers, there: Array) -> tuple[Array, Array | None]:
    """Attention's weights [block, block] float32, queries first, and which of them dropout keeps."""
    segment_ids, *noise = integers
    query, key = (_load(qkv.at[:, jnp.int32(part)], there) for part in range(2))
    segment = plgpu.load(segment_ids, mask=there, other=-1)
    scores = _dot(query, key, 1, 1) / query.shape[-1] ** 0.5
    scores = jnp.where(segment[:, None] == segment[None, :], scores, MASKED)
    powers = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    weights = powers / jnp.sum(powers, axis=-1, keepdims=True)
    if not noise:
        return weights, None
    positions, token, noise_key = noise
    feature = pl.program_id(1) * dropout.max_positions + plgpu.load(positions, mask=there, other=0)
    counter = plgpu.load(token, mask=there, other=0)
    feature = feature.astype(jnp.uint32)[None, :]
    return weights, keep_mask(noise_key[0], dropout.site, counter[:, None], feature, dropout.rate)


def _load(ref: Any, there: Array) -> Array:
    """[block, head_size], zeros where there is no token.

    A part of `qkv` is `ref.at[:, jnp.int32(part)]`: with a plain number there Pallas's interpreter fails.
    """
    return plgpu.load(ref, mask=there[:, None], other=0.0)


def _dot(x: Array, y: Array, of_x: int, of_y: int) -> Array:
    """The product that sums over one axis of each, in float32; of float32 by TF32, unless JAX is told better."""
    return jax.lax.dot_general(x, y, (((of_x,), (of_y,)), ((), ())), preferred_element_type=jnp.float32)
