"""Texts -> embeddings, by a run's checkpoint or by weights. JAX is imported once there is something to compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from bert_jax.batches.tokenizer import Tokenizer, encode_examples, read_tokenizer
from bert_jax.config import ModelConfig
from bert_jax.errors import InputError
from bert_jax.weights.folder import find_weights, load_weights
from train.runs.questions import as_examples

if TYPE_CHECKING:
    import jax

    from bert_jax.batches.packing import PackedBatch
    from train.devices.programs import Programs

Pooled = Literal["cls", "pooler", "mean"]  # the hidden state of [CLS], BERT's pooler on it, the mean of all tokens


@dataclasses.dataclass(frozen=True)
class Embedder:
    """What embeds texts.

    name: of the run or the weights.
    params: gives the parameters; those of a run lie in its checkpoint, which JAX reads.
    programs: gives the compiled steps of one device.
    pooling, max_length: where no others are asked for.
    """

    name: str
    model: ModelConfig
    tokenizer: Tokenizer
    params: Callable[[], dict]
    programs: Callable[[], Programs]
    has_pooler: bool
    pooling: Pooled
    max_length: int

    @classmethod
    def of_weights(cls, init: str, programs: Callable[[], Programs]) -> Embedder:
        """Weights as `--init` names them.

        Raises:
          WeightsError: they are not there, or do not fit.
        """
        folder = find_weights(init)
        bert, params = load_weights(folder)
        tokenizer = read_tokenizer(folder, bert.vocab_size)
        return cls(init, ModelConfig(bert), tokenizer, lambda: params, programs, "pooler" in params, "mean", 512)

    def check(self, pooling: Pooled | None) -> None:
        """Raises InputError if there is no pooler though it is asked for."""
        if pooling == "pooler" and not self.has_pooler:
            raise InputError(f"--pooling=pooler, but {self.name} has no pooler")

    def embed(
        self,
        texts: Sequence[str],
        pooling: Pooled | None = None,
        max_length: int | None = None,
        batch_size: int = 32,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[np.ndarray, int]:
        """The embedding of each text, [texts, hidden] float32, in their order; and how many texts were cut.

        Args:
          check: called before each batch; raises to stop.

        Raises:
          InputError: there is no pooler though it is asked for.
        """
        self.check(pooling)
        pooling = pooling or self.pooling
        longest = min(max_length or self.max_length, self.model.bert.max_position_embeddings)
        examples = as_examples(texts)
        encoded = encode_examples(self.tokenizer, examples, "separate", longest)
        if not examples:
            return np.zeros((0, self.model.bert.hidden_size), np.float32), 0

        from bert_jax.batches.batches import evaluation_batches
        from bert_jax.heads import embed, encode
        from eval.evaluate import predict_split

        model = dataclasses.replace(self.model, pooling="mean" if pooling == "mean" else "cls")

        def embed_batch(params: dict, batch: PackedBatch) -> jax.Array:
            if pooling == "cls":
                return encode(model, params, batch, read=batch.first_token)[:, 0]
            return embed(model, params, batch)[:, 0]

        programs, params = self.programs(), self.params()
        step = programs.once(("embed", model, pooling), lambda: programs.parallel.compile_predict_step(embed_batch))
        batches = evaluation_batches(encoded, min(batch_size, len(encoded)), programs.parallel.count, row_length=None)
        found = predict_split(lambda batch: step(params, batch), batches, check)
        return found.astype(np.float32), encoded.truncated
