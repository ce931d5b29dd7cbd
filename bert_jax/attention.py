"""What each token attends to: the weights inside the encoder's self-attention, to look at."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from bert_jax.batches.packing import PackedBatch
from bert_jax.config import ModelConfig
from bert_jax.heads import Params
from bert_jax.modules import Encoder


def attention_weights(model: ModelConfig, params: Params, batch: PackedBatch) -> Array:
    """Attention without dropout: [layers, rows, heads, length, length] float32, queries first, then keys.

    Each query's weights sum to 1 over the tokens of its own text, and are exactly 0 elsewhere. Rows of padding
    (segment 0) attend to padding and mean nothing.
    """
    encoder = Encoder(model.bert, model.dtype)
    _, kept = encoder.apply({"params": params["bert"]}, batch, None, mutable="intermediates")
    layers: dict[str, Any] = kept["intermediates"]  # type: ignore[assignment]
    names = (f"layer_{index}" for index in range(model.bert.num_hidden_layers))
    return jnp.stack([layers[name]["attention"]["weights"][0] for name in names])
