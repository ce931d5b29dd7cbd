"""A model that answers one request at a time, in few static shapes, so that nothing is compiled while it answers."""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.attention import attention_weights
from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.packing import BatchShape, PackedBatch, pack
from bert_jax.data.tables import Example
from bert_jax.heads import Params, predict_logits
from bert_jax.tasks import KINDS, Task
from train.runs.finished import FinishedRun

SHORT = 64  # tokens a row; most sentences are shorter
ROWS = 16  # of a batch of many texts


class Live:
    """Answers of all tasks to texts and to pairs. Requests of several threads wait for each other."""

    tasks: Mapping[int, Sequence[Task]]

    def __init__(self, run: FinishedRun):
        """Take a checkpoint on one device apart."""
        self.run, self.model, self.params, self.tokenizer = run, run.model, run.params, run.tokenizer
        self.tasks = {width: [task for task in run.tasks if len(task.text_columns) == width] for width in (1, 2)}
        compile_step = run.programs.parallel.compile_predict_step
        self._steps = {width: compile_step(self._predict(width)) for width in (1, 2) if self.tasks[width]}
        self._attend = jax.jit(lambda params, batch: attention_weights(run.model, params, batch))
        self._lengths = (SHORT, -(-max(run.max_length, SHORT) // 32) * 32)
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Compiles every program that a request can need."""
        long = "a " * self.run.max_length
        for width in self._steps:
            for texts in ([("a",) * width], [("a",) * width] * 2, [(long,) * width]):
                self.answer(texts)
        for text in ("a", long):
            self.attention((text,), 0)

    def encode(self, texts: Sequence[tuple[str, ...]]) -> EncodedExamples:
        """Encode texts, or pairs, as the model reads them."""
        return self.run.encode([Example(str(number), each, None) for number, each in enumerate(texts)])

    def answer(self, texts: Sequence[tuple[str, ...]]) -> tuple[dict[Task, np.ndarray], int]:
        """The raw outputs of every task that takes so many texts, and how many texts had to be cut.

        Args:
          texts: at least one, or pairs: all of one width.

        Returns:
          An array [examples, ...] for each task, as `predict_logits` gives it.
        """
        width = len(texts[0])
        encoded = self.encode(texts)
        longest = encoded.lengths.max(axis=1)
        short = np.flatnonzero(longest <= self._lengths[0])
        at_once = ROWS // encoded.texts if len(short) > 1 else 1  # as many as surely fit, with one text a row
        batches = [(short[i : i + at_once], self._lengths[0], at_once) for i in range(0, len(short), at_once)]
        batches += [(np.array([i]), self._lengths[-1], 1) for i in np.flatnonzero(longest > self._lengths[0])]
        ends = np.cumsum([task.num_outputs for task in self.tasks[width]])
        outputs = np.zeros((len(encoded), ends[-1]), np.float32)
        for indices, length, slots in batches:
            batch = pack(encoded, indices, BatchShape(slots * encoded.texts, length), slots)
            share = jax.tree.map(lambda array: array[None], batch)  # of one device, and that is all
            with self._lock:
                outputs[indices] = self._steps[width](self.params, share)[: len(indices)]
        parts = zip(self.tasks[width], np.split(outputs, ends[:-1], axis=1), strict=True)
        found = {task: part if KINDS[task.kind].per_class else part[:, 0] for task, part in parts}
        return found, encoded.truncated

    def attention(self, texts: tuple[str, ...], which: int) -> tuple[list[str], np.ndarray]:
        """Say what the tokens of a text attend to.

        Args:
          texts: one, or a pair.
          which: of a pair that is read as two texts, 0 or 1; of all others 0.

        Returns:
          The text's tokens, and the weights [layers, heads, tokens, tokens], queries first.
        """
        encoded = self.encode([texts])
        begin, end = encoded.offsets[which : which + 2]
        size = int(end - begin)
        its_own = {name: getattr(encoded, name)[begin:end] for name in ("tokens", "token_types")}
        alone = dataclasses.replace(encoded, **its_own, offsets=np.array([0, size]), texts=1)
        length = next(length for length in self._lengths if length >= size)
        with self._lock:
            weights = np.asarray(self._attend(self.params, pack(alone, np.array([0]), BatchShape(1, length), 1)))
        return self.tokenizer.names(alone.tokens.tolist()), weights[:, 0, :, :size, :size]

    def _predict(self, width: int) -> Callable[[Params, PackedBatch], jax.Array]:
        """Outputs of all tasks of a width, side by side. XLA finds that their encoders are one."""

        def predict(params: Params, batch: PackedBatch) -> jax.Array:
            outputs = [predict_logits(self.model, task, params, batch) for task in self.tasks[width]]
            return jnp.concatenate([each.reshape(len(batch.weights), -1) for each in outputs], axis=1)

        return predict
