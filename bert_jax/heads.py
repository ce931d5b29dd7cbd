"""From the encoder's hidden states to a task's logits: pooling, and one small head a task.

Parameters come in parts, a dict of trees: "bert" (the encoder), "pooler", and a part named after each task. A step
touches the parts that its task uses and no others.
"""

import dataclasses
import zlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from jaxtyping import Float, Float32, Int32

from bert_jax.batches.packing import AnyArray, PackedBatch
from bert_jax.config import BertConfig, Dtype, ModelConfig
from bert_jax.dropout import DropoutNoise, dropout
from bert_jax.kernels.backend import gelu
from bert_jax.kernels.linear import dense, multiply_transposed, value_dtype
from bert_jax.modules import HEAD_SITE, Encoder, Hidden, PerToken, layer_norm
from bert_jax.tasks import KINDS, Kind, Task

Params = dict[str, dict[str, Any]]  # part -> tree of arrays
Pooled = Float[Array, "examples texts hidden"]


class Pooler(nn.Module):
    """BERT's pooler, a linear layer and tanh."""

    config: BertConfig
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Float[AnyArray, "*texts hidden"]) -> Float[Array, "*texts hidden"]:
        return jnp.tanh(dense(self.config.hidden_size, self.dtype, "dense")(x))


class LinearHead(nn.Module):
    """One linear layer on an example's embeddings, side by side."""

    outputs: int

    @nn.compact
    def __call__(self, pooled: Float[AnyArray, "examples texts hidden"]) -> Float32[Array, "examples outputs"]:
        flat = pooled.reshape(pooled.shape[0], -1).astype(jnp.float32)
        return dense(self.outputs, "float32", "dense")(flat)


class MaskedLmHead(nn.Module):
    """BERT's masked-LM head; its decoder is the word embedding table."""

    config: BertConfig
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(
        self, x: Float[AnyArray, "*tokens hidden"], word_embeddings: Float[AnyArray, "vocabulary hidden"]
    ) -> Float32[Array, "*tokens vocabulary"]:
        hidden: Array = dense(self.config.hidden_size, self.dtype, "dense")(x)
        hidden = layer_norm(self.config, "norm")(gelu(hidden)).astype(value_dtype(self.dtype))
        logits = multiply_transposed(hidden, word_embeddings, self.dtype)
        bias: Array = self.param("bias", nn.initializers.zeros, (self.config.vocab_size,))
        return logits + jnp.expand_dims(bias, tuple(range(logits.ndim - 1)))


def mean_hidden(hidden: Hidden, segment_ids: PerToken, first_token: Int32[Array, "examples texts"]) -> Pooled:
    """Mean of the hidden states of each text, special tokens included, in float32."""
    num_texts = first_token.size
    flat, segments = hidden.reshape(-1, hidden.shape[-1]).astype(jnp.float32), segment_ids.reshape(-1)
    sums = jax.ops.segment_sum(flat, segments, num_texts + 1)[1:]
    counts = jax.ops.segment_sum(jnp.ones_like(segments, jnp.float32), segments, num_texts + 1)[1:]
    return (sums / jnp.maximum(counts, 1.0)[:, None]).reshape(*first_token.shape, -1)


def cosine_similarity(
    first: Float[Array, "*examples hidden"], second: Float[Array, "*examples hidden"]
) -> Float[Array, "*examples"]:
    """Cosine of the angle between two vectors; 0 where one is the zero vector."""
    norms = jnp.sum(first * first, -1) * jnp.sum(second * second, -1)
    return jnp.sum(first * second, -1) * jax.lax.rsqrt(jnp.maximum(norms, 1e-24))


def used_parts(model: ModelConfig, task: Task) -> tuple[str, ...]:
    """The parts of the parameters that a task's logits depend on."""
    head = HEADS[task.kind]
    pooler = ("pooler",) if head.pools and model.pooling == "cls" else ()
    return ("bert", *pooler, *((task.name,) if task.has_weights(model.similarity_head) else ()))


def encode(
    model: ModelConfig,
    params: Params,
    batch: PackedBatch,
    noise: DropoutNoise | None = None,
    read: Int32[AnyArray, "..."] | None = None,
) -> Float[Array, "... hidden"]:
    """The encoder's last hidden state, [rows, length, hidden]; of the tokens at `read` alone, [*read, hidden]."""
    read = None if read is None else jnp.asarray(read)
    encoder = Encoder(model.bert, model.dtype)
    return encoder.apply({"params": params["bert"]}, batch, noise, read)  # type: ignore[return-value]


def embed(model: ModelConfig, params: Params, batch: PackedBatch, noise: DropoutNoise | None = None) -> Pooled:
    """The pooled embedding of every text."""
    if model.pooling == "mean":
        hidden = encode(model, params, batch, noise)
        return mean_hidden(hidden, jnp.asarray(batch.segment_ids), jnp.asarray(batch.first_token))
    first = encode(model, params, batch, noise, batch.first_token)
    return Pooler(model.bert, model.dtype).apply({"params": params["pooler"]}, first)  # type: ignore[return-value]


def predict_logits(
    model: ModelConfig, task: Task, params: Params, batch: PackedBatch, noise: DropoutNoise | None = None
) -> Float[Array, "targets ..."]:
    """A task's raw outputs, as the head of its kind gives them: [examples], with a logit a class [examples, classes].

    A paraphrase's output is the logit of "is a paraphrase"; a similarity's is the score itself, unclipped. Masked LM
    has logits of the masked tokens alone, [masked, vocabulary]: no others are scored.
    """
    return HEADS[task.kind].logits(model, task, params, batch, noise)


ModuleAndInputs = tuple[nn.Module, tuple[AnyArray | jax.ShapeDtypeStruct, ...]]
Logits = Callable[[ModelConfig, Task, Params, PackedBatch, DropoutNoise | None], Array]


@dataclasses.dataclass(frozen=True)
class Head:
    """What a kind of task makes of the encoder's hidden states.

    module: (model, task) -> the Linen module of the task's own weights, and inputs that it can be initialized with.
    logits: as `predict_logits`.
    outputs: (logits, batch) -> what an evaluation reads of them, a row each; the logits themselves unless it says less.
    pools: whether it reads pooled embeddings.
    kind: of one from outside, what else its tasks have in common.
    """

    module: Callable[[ModelConfig, Task], ModuleAndInputs]
    logits: Logits
    outputs: Callable[[Array, PackedBatch], Array] = lambda logits, _: logits
    pools: bool = True
    kind: Kind | None = None


def linear_head(model: ModelConfig, task: Task) -> ModuleAndInputs:
    """A linear layer on an example's one or two embeddings."""
    texts = task.texts_read(model.pair_encoding)
    return LinearHead(task.num_outputs), (np.zeros((1, texts, model.bert.hidden_size)),)


def linear_logits(
    model: ModelConfig, task: Task, params: Params, batch: PackedBatch, noise: DropoutNoise | None
) -> Float32[Array, "examples ..."]:
    """A number for each output; of a kind without a logit a class there is one, [examples]."""
    pooled = drop_out_pooled(model, embed(model, params, batch, noise), noise)
    logits = linear_head(model, task)[0].apply({"params": params[task.name]}, pooled)
    assert isinstance(logits, Array)
    return logits if KINDS[task.kind].per_class else logits[:, 0]


def similarity_logits(
    model: ModelConfig, task: Task, params: Params, batch: PackedBatch, noise: DropoutNoise | None
) -> Float32[Array, " examples"]:
    """A score of each pair: linear, or the cosine of its embeddings on the scale of the labels."""
    if task.has_weights(model.similarity_head):
        return linear_logits(model, task, params, batch, noise)
    pooled = drop_out_pooled(model, embed(model, params, batch, noise), noise)
    cosine = cosine_similarity(*jnp.moveaxis(pooled.astype(jnp.float32), 1, 0))
    return (cosine - model.cosine_floor) / (1.0 - model.cosine_floor) * task.max_label


def drop_out_pooled(model: ModelConfig, pooled: Pooled, noise: DropoutNoise | None) -> Pooled:
    """Dropout before a head."""
    return dropout(pooled, model.head_dropout, noise, HEAD_SITE, None if noise is None else noise.text)


def masked_lm_head(model: ModelConfig, task: Task) -> ModuleAndInputs:
    """BERT's masked-LM head, which reads hidden states and the table of word embeddings."""
    del task
    size = model.bert.hidden_size
    words = jax.ShapeDtypeStruct((model.bert.vocab_size, size), np.float32)
    return MaskedLmHead(model.bert, model.dtype), (np.zeros((1, size)), words)


def masked_lm_logits(
    model: ModelConfig, task: Task, params: Params, batch: PackedBatch, noise: DropoutNoise | None
) -> Float32[Array, "masked vocabulary"]:
    """A logit for each word of the vocabulary, of the masked tokens alone."""
    chosen = encode(model, params, batch, noise, batch.masked)
    words = params["bert"]["embeddings"]["word"]["embedding"]
    head = masked_lm_head(model, task)[0]
    return head.apply({"params": params[task.name]}, chosen, words)  # type: ignore[return-value]


def masked_lm_outputs(logits: Float32[Array, "masked vocabulary"], batch: PackedBatch) -> Float32[Array, "masked 2"]:
    """Each masked token's loss in nats, and 1 where the likeliest word is the right one, else 0.

    The logits, a whole vocabulary a token, stay on the device.
    """
    labels = jnp.asarray(batch.labels).astype(jnp.int32)
    right = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    return jnp.stack([jax.nn.logsumexp(logits, axis=-1) - right, jnp.argmax(logits, -1) == labels], axis=-1)


LINEAR = Head(linear_head, linear_logits)
HEADS: dict[str, Head] = {
    "classification": LINEAR,
    "paraphrase": LINEAR,
    "similarity": Head(linear_head, similarity_logits),
    "mlm": Head(masked_lm_head, masked_lm_logits, masked_lm_outputs, pools=False),
}


def init_params(model: ModelConfig, tasks: Sequence[Task], seed: int | None, given: Params | None = None) -> Params:
    """Random parameters for the parts that the tasks use, as BERT starts: normal weights, scales 1, biases 0.

    Parts that are `given` stand in place of random ones. The random values of an array depend on the seed and its name
    alone; they are drawn by NumPy, which has nothing to compile. Without a seed they stay shapes and types.
    """
    bert = model.bert
    one, label = np.zeros((1, 1), np.int32), np.zeros(1, np.float32)
    batch = PackedBatch(one, one, one, one, one, label, label, np.zeros(1, np.int32))

    def start(part: str, module: nn.Module, *inputs: PackedBatch | AnyArray | jax.ShapeDtypeStruct) -> dict[str, Any]:
        def draw(path: tuple[Hashable, ...], leaf: jax.ShapeDtypeStruct) -> Float32[np.ndarray, "..."]:
            shape: tuple[int, ...] = leaf.shape
            name = f"{part}/{jax.tree_util.keystr(path, simple=True, separator='/')}"
            if name.endswith(("/scale", "/bias")):
                return np.full(shape, 1.0 if name.endswith("/scale") else 0.0, np.float32)
            assert seed is not None
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, zlib.crc32(name.encode())])))
            return bert.initializer_range * rng.standard_normal(shape, np.float32)

        if given and part in given:
            return given[part]
        shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
        return shapes if seed is None else jax.tree.map_with_path(draw, shapes)

    parts = {part for task in tasks for part in used_parts(model, task)}
    params: Params = {"bert": start("bert", Encoder(bert), batch)}
    if "pooler" in parts:
        params["pooler"] = start("pooler", Pooler(bert), np.zeros((1, bert.hidden_size)))
    for task in tasks:
        if task.name in parts:
            module, inputs = HEADS[task.kind].module(model, task)
            params[task.name] = start(task.name, module, *inputs)
    return params
