"""From the encoder's hidden states to a task's logits: pooling, and one small head a task.

Parameters come in parts, a dict of trees: "bert" (the encoder), "pooler", and a part named after each task. A step
touches the parts that its task uses and no others.
"""

import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from bert_jax.config import BertConfig, Dtype, ModelConfig
from bert_jax.dropout import DropoutNoise, dropout
from bert_jax.linear import dense, multiply_transposed, value_dtype
from bert_jax.modules import HEAD_SITE, Encoder, gelu, layer_norm
from bert_jax.packing import PackedBatch
from bert_jax.tasks import Task

Params = dict[str, dict]  # part -> tree of arrays


class Pooler(nn.Module):
    """BERT's pooler, a linear layer and tanh: [..., hidden] -> the same."""

    config: BertConfig
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return jnp.tanh(dense(self.config.hidden_size, self.dtype, "dense")(x))


class LinearHead(nn.Module):
    """One linear layer on an example's embeddings, side by side: [examples, texts, hidden] -> [examples, outputs]."""

    outputs: int

    @nn.compact
    def __call__(self, pooled: Array) -> Array:
        flat = pooled.reshape(pooled.shape[0], -1).astype(jnp.float32)
        return dense(self.outputs, "float32", "dense")(flat)


class MaskedLmHead(nn.Module):
    """BERT's masked-LM head; its decoder is the word embedding table [vocabulary, hidden].

    [..., hidden] -> [..., vocabulary] float32.
    """

    config: BertConfig
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array, word_embeddings: Array) -> Array:
        x = dense(self.config.hidden_size, self.dtype, "dense")(x)
        x = layer_norm(self.config, "norm")(gelu(x)).astype(value_dtype(self.dtype))
        logits = multiply_transposed(x, word_embeddings, self.dtype)
        return logits + self.param("bias", nn.initializers.zeros, (self.config.vocab_size,))


def mean_hidden(hidden: Array, segment_ids: Array, first_token: Array) -> Array:
    """Mean of the hidden states of each text, special tokens included: [examples, texts, hidden] float32."""
    num_texts = first_token.size
    flat, segments = hidden.reshape(-1, hidden.shape[-1]).astype(jnp.float32), segment_ids.reshape(-1)
    sums = jax.ops.segment_sum(flat, segments, num_texts + 1)[1:]
    counts = jax.ops.segment_sum(jnp.ones_like(segments, jnp.float32), segments, num_texts + 1)[1:]
    return (sums / jnp.maximum(counts, 1.0)[:, None]).reshape(*first_token.shape, -1)


def cosine_similarity(first: Array, second: Array) -> Array:
    """Cosine of the angle between vectors in the last axis; 0 where one is the zero vector."""
    norms = jnp.sum(first * first, -1) * jnp.sum(second * second, -1)
    return jnp.sum(first * second, -1) * jax.lax.rsqrt(jnp.maximum(norms, 1e-24))


def has_parameters(model: ModelConfig, task: Task) -> bool:
    """Whether the task's head has weights; the cosine of two embeddings has none."""
    return not (task.kind == "similarity" and model.similarity_head == "cosine")


def used_parts(model: ModelConfig, task: Task) -> tuple[str, ...]:
    """The parts of the parameters that a task's logits depend on."""
    if task.kind == "mlm":
        return ("bert", task.name)
    pooler = ("pooler",) if model.pooling == "cls" else ()
    return ("bert", *pooler, *((task.name,) if has_parameters(model, task) else ()))


def encode(
    model: ModelConfig,
    params: Params,
    batch: PackedBatch,
    noise: DropoutNoise | None = None,
    read: np.ndarray | Array | None = None,
) -> Array:
    """The encoder's last hidden state: [rows, length, hidden]; of the tokens at `read` [...] alone, [..., hidden]."""
    read = None if read is None else jnp.asarray(read)
    encoder = Encoder(model.bert, model.dtype)
    return encoder.apply({"params": params["bert"]}, batch, noise, read)  # type: ignore[return-value]


def embed(model: ModelConfig, params: Params, batch: PackedBatch, noise: DropoutNoise | None = None) -> Array:
    """The pooled embedding of every text: [examples, texts, hidden]."""
    if model.pooling == "mean":
        hidden = encode(model, params, batch, noise)
        return mean_hidden(hidden, jnp.asarray(batch.segment_ids), jnp.asarray(batch.first_token))
    first = encode(model, params, batch, noise, batch.first_token)
    return Pooler(model.bert, model.dtype).apply({"params": params["pooler"]}, first)  # type: ignore[return-value]


def predict_logits(
    model: ModelConfig, task: Task, params: Params, batch: PackedBatch, noise: DropoutNoise | None = None
) -> Array:
    """A task's raw outputs: [examples, classes] for a classification, else [examples].

    A paraphrase's output is the logit of "is a paraphrase"; a similarity's is the score itself, unclipped. Masked LM
    has logits of the masked tokens alone, [masked, vocabulary]: no others are scored.
    """
    if task.kind == "mlm":
        chosen = encode(model, params, batch, noise, batch.masked)
        words = params["bert"]["embeddings"]["word"]["embedding"]
        head = MaskedLmHead(model.bert, model.dtype)
        return head.apply({"params": params[task.name]}, chosen, words)  # type: ignore[return-value]
    pooled = embed(model, params, batch, noise)
    pooled = dropout(pooled, model.head_dropout, noise, HEAD_SITE, None if noise is None else noise.text)
    if not has_parameters(model, task):
        cosine = cosine_similarity(*jnp.moveaxis(pooled.astype(jnp.float32), 1, 0))
        return (cosine - model.cosine_floor) / (1.0 - model.cosine_floor) * task.max_label
    logits = LinearHead(task.num_outputs).apply({"params": params[task.name]}, pooled)
    assert isinstance(logits, Array)
    return logits if task.kind == "classification" else logits[:, 0]


def init_params(model: ModelConfig, tasks: Sequence[Task], seed: int | None, given: Params | None = None) -> Params:
    """Random parameters for the parts that the tasks use, as BERT starts: normal weights, scales 1, biases 0.

    Parts that are `given` stand in place of random ones. The random values of an array depend on the seed and its name
    alone; they are drawn by NumPy, which has nothing to compile. Without a seed they stay shapes and types.
    """
    bert = model.bert
    one = np.zeros((1, 1), np.int32)
    batch = PackedBatch(one, one, one, one, one, np.zeros(1), np.zeros(1), np.zeros(1, np.int32))

    def start(part: str, module: nn.Module, *inputs) -> dict:
        def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
            name = "/".join([part, *(key.key for key in path)])
            if name.endswith(("/scale", "/bias")):
                return np.full(leaf.shape, 1.0 if name.endswith("/scale") else 0.0, np.float32)
            assert seed is not None
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, zlib.crc32(name.encode())])))
            return bert.initializer_range * rng.standard_normal(leaf.shape, np.float32)

        if given and part in given:
            return given[part]
        shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
        return shapes if seed is None else jax.tree.map_with_path(draw, shapes)

    parts = {part for task in tasks for part in used_parts(model, task)}
    params: Params = {"bert": start("bert", Encoder(bert), batch)}
    if "pooler" in parts:
        params["pooler"] = start("pooler", Pooler(bert), np.zeros((1, bert.hidden_size)))
    for task in tasks:
        if task.kind == "mlm":
            words = jax.ShapeDtypeStruct((bert.vocab_size, bert.hidden_size), np.float32)
            params[task.name] = start(task.name, MaskedLmHead(bert), np.zeros((1, bert.hidden_size)), words)
        elif has_parameters(model, task):
            texts = 2 if task.is_pair and model.pair_encoding == "separate" else 1
            head = LinearHead(task.num_outputs)
            params[task.name] = start(task.name, head, np.zeros((1, texts, bert.hidden_size)))
    return params
