"""The optimizer, one visible chain."""

import jax
import optax


def make_optimizer(learning_rate: float, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter, 2019) at a constant rate, with the epsilon BERT was trained with.

    Weight decay leaves biases and LayerNorms alone, as BERT's did.
    """
    return optax.chain(
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-6),
        optax.add_decayed_weights(weight_decay, mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params)),
        optax.scale_by_learning_rate(learning_rate),
    )
