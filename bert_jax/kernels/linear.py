"""Linear layers and products in float32 or bfloat16, and how they are fast on a CPU.

A weight's gradient is x.T @ gradient. JAX derives the transpose of that, for which XLA on a CPU writes each gradient
out a second time, transposed; so there the product is spelt out. In bfloat16 more is: on a CPU with AVX512_BF16, XLA is
fast if the sums stay float32 and the product is x @ w or x @ w.T. One summed over the rows of both gets turned into
float32 first, and elementwise work on bfloat16 is slow. So there, values stay float32, operands are rounded as they
enter a product, and x.T is made before it (`transpose_in_tiles`). Everywhere else bfloat16 is the type of the values as
well, and the products of linear layers are JAX's. The decoder's is spelt out there too: its sums are wanted in float32,
and of such a product JAX would multiply the gradients in float32.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
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


def spells_out(dtype: Dtype) -> bool:
    """Whether a linear layer's product and its gradients are those of `product`."""
    return jax.default_backend() == "cpu" and value_dtype(dtype) == jnp.float32


def dense(features: int, dtype: Dtype, name: str) -> nn.Dense:
    """A linear layer that computes in `dtype`; `init_params` says what its float32 parameters start as."""
    dot_general = functools.partial(_dot_general, dtype) if spells_out(dtype) else None
    return nn.Dense(features, dtype=value_dtype(dtype), dot_general=dot_general, name=name)


def multiply_transposed(x: Array, table: np.ndarray | Array, dtype: Dtype) -> Array:
    """x [..., hidden] times the transpose of table [outputs, hidden], computed in `dtype`: [..., outputs] float32."""
    flat = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
    return product(flat, table, dtype, True).reshape(*x.shape[:-1], table.shape[0])


def _dot_general(
    dtype: Dtype, x: Array, w: Array, dimensions: jax.lax.DotDimensionNumbers, precision: None = None
) -> Array:
    """`product` as `nn.Dense` calls it: x [..., inputs], w [inputs, outputs] -> [..., outputs]."""
    assert dimensions == (((x.ndim - 1,), (0,)), ((), ())) and precision is None
    return product(x.reshape(-1, x.shape[-1]), w, dtype, False).reshape(*x.shape[:-1], w.shape[-1])


def product(x: Array, w: np.ndarray | Array, dtype: Dtype, transposed: bool) -> Array:
    """x @ w, or x @ w.T, all float32, with operands rounded to `dtype` here and in the gradients.

    Args:
      x: [rows, inputs].
      w: [inputs, outputs], or if `transposed` [outputs, inputs].

    Returns:
      [rows, outputs].
    """
    return _product(x, w, dtype, transposed)  # type: ignore[return-value]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _product(x: Array, w: Array, dtype: Dtype, transposed: bool) -> Array:
    return _forward(x, w, dtype, transposed)[0]


def _forward(x: Array, w: Array, dtype: Dtype, transposed: bool) -> tuple[Array, tuple[Array, Array]]:
    rounded = x.astype(dtype), w.astype(dtype)
    return _dot(*rounded, 1, int(transposed)), rounded


def _backward(dtype: Dtype, transposed: bool, rounded: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, w = rounded
    gradient = gradient.astype(dtype)
    left, right = (gradient, x) if transposed else (x, gradient)
    in_tiles = dtype == "bfloat16" and rounds_operands()
    of_w = _dot(transpose_in_tiles(left), right, 1, 0) if in_tiles else _dot(left, right, 0, 0)
    return _dot(gradient, w, 1, int(not transposed)), of_w


_product.defvjp(_forward, _backward)


def transpose_in_tiles(x: Array) -> Array:
    """x.T by way of tiles, which zeros fill up: XLA folds a plain transpose into the product after it, slow again."""
    rows, columns = x.shape
    down, across = -(-rows // TILE), -(-columns // TILE)
    filled = jnp.pad(x, ((0, down * TILE - rows), (0, across * TILE - columns)))
    tiles = filled.reshape(down, TILE, across, TILE).transpose(2, 3, 0, 1)
    return tiles.reshape(across * TILE, down * TILE)[:columns, :rows]


def _dot(x: Array, w: Array, of_x: int, of_w: int) -> Array:
    """The product that sums over one axis of each, in float32."""
    return jax.lax.dot_general(x, w, (((of_x,), (of_w,)), ((), ())), preferred_element_type=jnp.float32)
