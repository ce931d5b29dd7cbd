"""Linear layers and products in float32 or bfloat16, and how bfloat16 is fast on a CPU.

On a CPU with AVX512_BF16, XLA multiplies bfloat16 fast if the sums stay float32 and the product is x @ w or x @ w.T. A
product summed over the rows of both, as a weight's gradient is, gets turned into float32 first, and elementwise work on
bfloat16 is slow. So there, values stay float32, operands are rounded as they enter a product, and a gradient's product
gets its first operand transposed (`transpose_in_tiles`). Everywhere else bfloat16 is the type of the values as well.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from bert_jax.config import Dtype

TILE = 32


@functools.cache
def rounds_operands() -> bool:
    """Whether bfloat16 is the type of a product's operands alone: JAX computes on a CPU that multiplies it."""
    if jax.default_backend() != "cpu":
        return False
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def value_dtype(dtype: Dtype) -> jnp.dtype:
    """The type of the values between the products of a model that computes in `dtype`."""
    return jnp.dtype("float32" if rounds_operands() else dtype)


def dense(features: int, dtype: Dtype, name: str) -> nn.Dense:
    """A linear layer that computes in `dtype`; `init_params` says what its float32 parameters start as."""
    if dtype == "bfloat16" and rounds_operands():
        return nn.Dense(features, dtype=jnp.float32, dot_general=_dot_general, name=name)
    return nn.Dense(features, dtype=jnp.dtype(dtype), name=name)


def multiply_transposed(x: Array, table: Array, dtype: Dtype) -> Array:
    """x [..., hidden] times the transpose of table [outputs, hidden], computed in `dtype`: [..., outputs] float32."""
    flat = x.reshape(-1, x.shape[-1])
    if dtype == "bfloat16" and rounds_operands():
        product = bfloat16_product(flat, table, True)
    else:
        product = _dot(flat, table.astype(dtype), transposed=True)
    return product.reshape(*x.shape[:-1], table.shape[0])


def _dot_general(x: Array, w: Array, dimensions: tuple, precision: None = None) -> Array:
    """`bfloat16_product` as `nn.Dense` calls it: x [..., inputs], w [inputs, outputs] -> [..., outputs]."""
    assert dimensions == (((x.ndim - 1,), (0,)), ((), ())) and precision is None
    return bfloat16_product(x.reshape(-1, x.shape[-1]), w, False).reshape(*x.shape[:-1], w.shape[-1])


def bfloat16_product(x: Array, w: Array, transposed: bool) -> Array:
    """x @ w, or x @ w.T, all float32, with operands rounded to bfloat16 here and in the gradients.

    Args:
      x: [rows, inputs].
      w: [inputs, outputs], or if `transposed` [outputs, inputs].

    Returns:
      [rows, outputs].
    """
    return _product(x, w, transposed)  # type: ignore[return-value]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(x: Array, w: Array, transposed: bool) -> Array:
    return _forward(x, w, transposed)[0]


def _forward(x: Array, w: Array, transposed: bool) -> tuple[Array, tuple[Array, Array]]:
    rounded = x.astype(jnp.bfloat16), w.astype(jnp.bfloat16)
    return _dot(*rounded, transposed), rounded


def _backward(transposed: bool, rounded: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, w = rounded
    gradient = gradient.astype(jnp.bfloat16)
    left, right = (gradient, x) if transposed else (x, gradient)
    return _dot(gradient, w, not transposed), _dot(transpose_in_tiles(left), right, transposed=False)


_product.defvjp(_forward, _backward)


def transpose_in_tiles(x: Array) -> Array:
    """x.T by way of tiles, which zeros fill up: XLA folds a plain transpose into the product after it, slow again."""
    rows, columns = x.shape
    down, across = -(-rows // TILE), -(-columns // TILE)
    filled = jnp.pad(x, ((0, down * TILE - rows), (0, across * TILE - columns)))
    tiles = filled.reshape(down, TILE, across, TILE).transpose(2, 3, 0, 1)
    return tiles.reshape(across * TILE, down * TILE)[:columns, :rows]


def _dot(x: Array, w: Array, transposed: bool) -> Array:
    return jax.lax.dot_general(x, w, (((1,), (int(transposed),)), ((), ())), preferred_element_type=jnp.float32)
