"""Losses by kind of task: per example (or masked token) and unreduced. The one mean is taken in `step.py`."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from bert_jax.batches.packing import AnyArray

Labels = Float[AnyArray, " targets"]  # of examples or of masked tokens
Losses = Float[Array, " targets"]


def classification_loss(logits: Float[Array, "targets classes"], labels: Labels) -> Losses:
    """Cross-entropy of the softmax, in nats."""
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels.astype(jnp.int32))


def paraphrase_loss(logits: Float[Array, " targets"], labels: Labels) -> Losses:
    """Cross-entropy of the sigmoid, in nats; labels are 0 or 1."""
    return optax.losses.sigmoid_binary_cross_entropy(logits, labels)


def similarity_loss(scores: Float[Array, " targets"], labels: Labels) -> Losses:
    """Squared error."""
    return optax.losses.squared_error(scores, labels)


def masked_lm_loss(logits: Float[Array, "targets vocabulary"], labels: Labels) -> Losses:
    """Cross-entropy of the softmax over the vocabulary, in nats."""
    return classification_loss(logits, labels)


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "classification": classification_loss,
    "paraphrase": paraphrase_loss,
    "similarity": similarity_loss,
    "mlm": masked_lm_loss,
}
