"""Losses by kind of task: per example (or masked token) and unreduced. The one mean is taken in `step.py`."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jax import Array


def classification_loss(logits: Array, labels: Array) -> Array:
    """Cross-entropy of the softmax: logits [examples, classes], labels [examples] -> [examples], in nats."""
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels.astype(jnp.int32))


def paraphrase_loss(logits: Array, labels: Array) -> Array:
    """Cross-entropy of the sigmoid: logits [examples], labels 0 or 1 [examples] -> [examples], in nats."""
    return optax.losses.sigmoid_binary_cross_entropy(logits, labels)


def similarity_loss(scores: Array, labels: Array) -> Array:
    """Squared error: scores [examples], labels [examples] -> [examples]."""
    return optax.losses.squared_error(scores, labels)


def masked_lm_loss(logits: Array, labels: Array) -> Array:
    """Cross-entropy of the softmax: logits [masked, vocabulary], labels [masked] -> [masked], in nats."""
    return classification_loss(logits, labels)


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "classification": classification_loss,
    "paraphrase": paraphrase_loss,
    "similarity": similarity_loss,
    "mlm": masked_lm_loss,
}
