"""What depends on the machine: the form of GELU, and whether attention has a kernel of its own there."""

import functools
import re
from typing import cast

import jax
import jax.numpy as jnp
from jax import Array


def gelu(x: Array) -> Array:
    """The exact GELU (Hendrycks and Gimpel, 2016), x times the normal distribution's share below x.

    JAX takes that share from erfc, exact far into the left tail, which takes a GPU longer than reading x does. There it
    is taken from erf, in float32: within 1e-6, but to few digits below -4, where the GELU is nearly 0.
    """
    if jax.default_backend() != "gpu":
        return jax.nn.gelu(x, approximate=False)
    wide = x.astype(jnp.float32)
    return (0.5 * wide * (1.0 + jax.lax.erf(wide / 2**0.5))).astype(x.dtype)


def fits_kernel(length: int, head_size: int) -> bool:
    """Whether attention is done by `fused_attention`: this GPU has room for such a row of one head."""
    return length <= longest_row() and head_size in (16, 32, 64)


@functools.cache
def longest_row() -> int:
    """Tokens that a row may have for `fused_attention`, 0 where its compiler, Triton, is not for this machine.

    Triton is for NVIDIA's GPUs from Ampere on, so not for a T4. In float32 the gradients of a row of a head of 64 may
    need 192 KiB of shared memory for 128 tokens, which Hopper and Blackwell in data centres have for a block (227), and
    80 KiB for 64 tokens, which all have (99).
    """
    device = cast(object, jax.local_devices()[0])  # of a class that JAX has no stub of
    capability = str(getattr(device, "compute_capability", ""))
    if not re.fullmatch(r"\d+\.\d+", capability) or float(capability) < 8.0:
        return 0
    return 128 if capability in ("9.0", "10.0", "10.3") else 64
