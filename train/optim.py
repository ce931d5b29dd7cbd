"""The optimizers, each one visible chain. JAX is imported when one is made: settings name them before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optax


def adamw(learning_rate: float, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter, 2019) at a constant rate, with the epsilon BERT was trained with.

    Weight decay leaves biases and LayerNorms alone, as BERT's did.
    """
    import jax
    import optax

    return optax.chain(
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-6),
        optax.add_decayed_weights(weight_decay, mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params)),
        optax.scale_by_learning_rate(learning_rate),
    )


Optimizer = Callable[[float, float], "optax.GradientTransformation"]  # learning rate, weight decay
OPTIMIZERS: dict[str, Optimizer] = {"adamw": adamw}


def make_optimizer(
    learning_rate: float, weight_decay: float = 0.0, optimizer: str = "adamw"
) -> optax.GradientTransformation:
    """The optimizer of that name."""
    return OPTIMIZERS[optimizer](learning_rate, weight_decay)
