"""The BERT encoder (Devlin et al., 2019) on packed batches: exact erf GELU, LayerNorm after each block.

One Linen module a block; a module's parameters are its fields' names. `deterministic` is spelled `noise is None`.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jaxtyping import Float, Float32, Int32, Shaped

from bert_jax.batches.packing import AnyArray, PackedBatch
from bert_jax.config import BertConfig, Dtype
from bert_jax.dropout import DropoutNoise, dropout, keep_mask, shift_sites
from bert_jax.kernels.backend import fits_kernel, gelu
from bert_jax.kernels.linear import dense, value_dtype

Hidden = Float[Array, "rows length hidden"]
PerToken = Int32[Array, "rows length"]
Qkv = Float[Array, "rows length 3 heads head_size"]  # queries, keys and values
Context = Float[Array, "rows length heads head_size"]
Read = Int32[Array, "..."] | None  # the tokens that are wanted, as indices into the flattened rows; None: all

# Dropouts of the network, each with a number of its own: these two, and three a layer after them. A layer counts its
# own from 0 and gets noise that is shifted, which makes all layers one function.
EMBEDDING_SITE, HEAD_SITE, FIRST_LAYER_SITE, SITES_PER_LAYER = 0, 1, 2, 3
ATTENTION_SITE, OUTPUT_SITE, FFN_SITE = range(SITES_PER_LAYER)


def layer_norm(config: BertConfig, name: str) -> nn.LayerNorm:
    """LayerNorm in float32, its variance taken around the mean (Flax's faster form loses digits)."""
    return nn.LayerNorm(epsilon=config.layer_norm_eps, dtype=jnp.float32, use_fast_variance=False, name=name)


class Embeddings(nn.Module):
    """Word, position and segment-type embeddings of each token."""

    config: BertConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, batch: PackedBatch, noise: DropoutNoise | None) -> Hidden:
        config = self.config

        def embed(rows: int, ids: Int32[AnyArray, "rows length"], name: str) -> Hidden:
            return nn.Embed(rows, config.hidden_size, name=name)(jnp.asarray(ids))

        x = embed(config.vocab_size, batch.token_ids, "word")
        x += embed(config.max_position_embeddings, batch.position_ids, "position")
        x += embed(config.type_vocab_size, batch.token_type_ids, "token_type")
        x = layer_norm(config, "norm")(x)
        return dropout(x, config.hidden_dropout_prob, noise, EMBEDDING_SITE).astype(value_dtype(self.dtype))


class SelfAttention(nn.Module):
    """Multi-head attention inside each text, for the tokens that are read."""

    config: BertConfig
    dtype: Dtype

    @nn.compact
    def __call__(
        self, x: Hidden, segment_ids: PerToken, positions: PerToken, noise: DropoutNoise | None, read: Read = None
    ) -> Float[Array, "... hidden"]:
        config = self.config
        rows, length, hidden = x.shape
        qkv = dense(3 * hidden, self.dtype, "qkv")(x)
        qkv = qkv.reshape(rows, length, 3, config.num_attention_heads, config.head_size)
        # `attention_weights` wants to see what a kernel keeps to itself.
        is_fused = fits_kernel(length, config.head_size) and not self.is_mutable_collection("intermediates")
        attend = self._attend_fused if is_fused else self._attend
        context = attend(qkv, segment_ids, positions, noise)
        return dense(hidden, self.dtype, "output")(take(context.reshape(rows, length, hidden), read))

    def _attend(self, qkv: Qkv, segment_ids: PerToken, positions: PerToken, noise: DropoutNoise | None) -> Context:
        config = self.config
        query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # [rows, length, heads, head_size]
        scores = jnp.einsum("rqhd,rkhd->rhqk", query, key, preferred_element_type=jnp.float32)
        bias = attention_bias(segment_ids)
        weights = jax.nn.softmax(scores / config.head_size**0.5 + bias)  # [rows, heads, length, length] float32
        self.sow("intermediates", "weights", weights)  # for `attention_weights`; nothing unless it is asked for
        if noise is not None and config.attention_probs_dropout_prob > 0.0:
            heads = jnp.arange(config.num_attention_heads, dtype=jnp.uint32)[None, :, None, None]
            feature = heads * config.max_position_embeddings + positions.astype(jnp.uint32)[:, None, None, :]
            rate = config.attention_probs_dropout_prob
            keep = keep_mask(noise.key, ATTENTION_SITE, noise.token[:, None, :, None], feature, rate)
            weights = jnp.where(keep, weights / (1.0 - rate), 0.0)
        return jnp.einsum("rhqk,rkhd->rqhd", weights.astype(value.dtype), value)

    def _attend_fused(
        self, qkv: Qkv, segment_ids: PerToken, positions: PerToken, noise: DropoutNoise | None
    ) -> Context:
        from bert_jax.kernels import fused_attention  # and with it Pallas, which only GPUs need

        config = self.config
        dropout = fused_attention.Dropout(
            config.attention_probs_dropout_prob, ATTENTION_SITE, config.max_position_embeddings
        )
        return fused_attention.attend(qkv, segment_ids, positions, noise, dropout)


class FeedForward(nn.Module):
    """Two linear layers around an exact GELU."""

    config: BertConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: Float[Array, "*tokens hidden"]) -> Float[Array, "*tokens hidden"]:
        x = dense(self.config.intermediate_size, self.dtype, "intermediate")(x)
        return dense(self.config.hidden_size, self.dtype, "output")(gelu(x))


class EncoderLayer(nn.Module):
    """Attention, then feed-forward; each is dropped out, added to its input and normalized. For the tokens read."""

    config: BertConfig
    dtype: Dtype

    @nn.compact
    def __call__(
        self, x: Hidden, segment_ids: PerToken, positions: PerToken, noise: DropoutNoise | None, read: Read = None
    ) -> Float[Array, "... hidden"]:
        config, rate, kept = self.config, self.config.hidden_dropout_prob, value_dtype(self.dtype)
        y = SelfAttention(config, self.dtype, name="attention")(x, segment_ids, positions, noise, read)
        token = None if noise is None else take(noise.token, read)
        x = take(x, read) + dropout(y, rate, noise, OUTPUT_SITE, token)
        x = layer_norm(config, "attention_norm")(x).astype(kept)
        y = FeedForward(config, self.dtype, name="feed_forward")(x)
        return layer_norm(config, "feed_forward_norm")(x + dropout(y, rate, noise, FFN_SITE, token)).astype(kept)


# JAX traces the first layer and takes it for the others. XLA is given each of them, and computes what it would without.
TracedOnce = nn.jit(EncoderLayer)


class Encoder(nn.Module):
    """Embeddings and all layers: the last hidden state of each token, [rows, length, hidden].

    Of the tokens at `read` alone, [*read, hidden]: what the last layer does after its attention is done for them alone,
    which are few where a head reads [CLS] or the masked tokens. Values and gradients are those of the whole.
    """

    config: BertConfig
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(
        self, batch: PackedBatch, noise: DropoutNoise | None = None, read: Read = None
    ) -> Float[Array, "... hidden"]:
        x = Embeddings(self.config, self.dtype, name="embeddings")(batch, noise)
        segment_ids, positions = jnp.asarray(batch.segment_ids), jnp.asarray(batch.position_ids)
        last = self.config.num_hidden_layers - 1
        for index in range(last + 1):
            layer = TracedOnce(self.config, self.dtype, name=f"layer_{index}")
            own = shift_sites(noise, FIRST_LAYER_SITE + SITES_PER_LAYER * index)
            x = layer(x, segment_ids, positions, own, read if index == last else None)
        return x


def take(x: Shaped[Array, "rows length *rest"], read: Read) -> Shaped[Array, "..."]:
    """The values of some tokens, [*read, *rest]; without `read`, x itself."""
    return x if read is None else x.reshape(-1, *x.shape[2:])[read]


def attention_bias(segment_ids: PerToken) -> Float32[Array, "rows 1 length length"]:
    """0 where query and key are of one text, else so low that softmax gives exactly 0."""
    same = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    return jnp.where(same, 0.0, -1e9).astype(jnp.float32)
