"""A run that has been trained, to be judged: its tasks, its tokenizer, and a checkpoint that predicts."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from bert_jax.attention import attention_weights
from bert_jax.batches.corpus import Corpus
from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.packing import BatchShape, assign_rows, pack
from bert_jax.batches.tokenizer import Tokenizer, encode_examples
from bert_jax.config import ModelConfig
from bert_jax.data.tables import Example, Table
from bert_jax.heads import Params
from bert_jax.tasks import Task
from eval.evaluate import predict_split, split_batches
from eval.metrics import bootstrap, interval, score_task
from train.devices.programs import Programs
from train.inputs import run_tasks
from train.resolve import RunConfig
from train.runs.checkpoint import restore_params
from train.runs.folder import open_folder


class Attention(NamedTuple):
    """How much the tokens of some texts attend to each other. Texts share rows, as in training.

    tokens: of each row, from its first place to its last.
    segments: [rows, length], the number of the text that is in a place, from 1 on; 0 is padding.
    weights: [layers, rows, heads, length, length], from the token of the first length to that of the second. Between
      two texts they are 0; those of padding mean nothing.
    """

    tokens: list[list[str]]
    segments: np.ndarray
    weights: np.ndarray


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A checkpoint of a run.

    step: updates that made it.
    params: on all devices of `programs`.
    """

    config: RunConfig
    model: ModelConfig
    tokenizer: Tokenizer
    tasks: tuple[Task, ...]
    step: int
    params: Params
    programs: Programs

    @property
    def max_length(self) -> int:
        """Tokens a text may have."""
        return min(self.config.reading.max_length, self.model.bert.max_position_embeddings)

    def encode(self, examples: Sequence[Example]) -> EncodedExamples:
        """Texts -> token ids, as in training."""
        return encode_examples(self.tokenizer, examples, self.model.pair_encoding, self.max_length)

    def predict(
        self, task: Task, encoded: EncodedExamples, batch_size: int, check: Callable[[], None] = lambda: None
    ) -> np.ndarray:
        """A task's raw outputs, [examples, ...], in the order of the examples; of masked LM [masked tokens, 2].

        Args:
          check: called before each batch; raises to stop.
        """
        step, shares = self.programs.predict_step(self.model, task), self.programs.parallel.count
        size, row_length = min(batch_size, len(encoded)), self.config.speed.row_length
        batches = split_batches(task, encoded, self.tokenizer.vocab, size, shares, row_length)
        params = self.programs.parallel.arrange(self.params)  # as in training, so that its programs serve here as well
        return predict_split(lambda batch: step(params, batch), batches, check)

    def attention(self, encoded: EncodedExamples, row_length: int) -> Attention:
        """Compute what each token attends to, as `Run.attention` does."""
        lengths = encoded.lengths.reshape(-1)
        length = max(row_length, int(lengths.max(initial=1)))
        shape = BatchShape(max(1, assign_rows(lengths, length)[2]), length)
        batch = pack(encoded, np.arange(len(encoded)), shape, len(encoded))
        tokens = [self.tokenizer.names(row) for row in np.asarray(batch.token_ids)]
        weights = np.asarray(attention_weights(self.model, self.params, batch))
        return Attention(tokens, np.asarray(batch.segment_ids), weights)

    def judge(
        self, task: Task, table: Table | Corpus, batch_size: int, check: Callable[[], None], resamples: int
    ) -> dict[str, Any]:
        """Scores of a task on a table, every row once.

        Args:
          check: as in `predict`.
          resamples: draws of the 95 % bootstrap interval.

        Returns:
          Its scores; `interval` of its metric; and of the table `rows`, those left out in words (`left_out`), how many
          these are (`skipped`), and how many texts were `cut`.
        """
        encoded = self.encode(table.examples)
        outputs = self.predict(task, encoded, batch_size, check)
        return {
            **score_task(task, outputs, encoded.labels),
            "interval": interval(bootstrap(task, outputs, encoded.labels, resamples)[task.metric]),
            "rows": len(table.examples),
            "left_out": table.left_out,
            "skipped": table.skipped,
            "cut": encoded.truncated,
        }


def restore_run(path: Path, which: Literal["best", "latest"], programs: Programs) -> FinishedRun:
    """The best or the newest checkpoint of a run; of a recipe, that of the last stage that was begun.

    Raises:
      InputError: the folder is no run.
      WeightsError: it has no checkpoint, or a damaged one.
    """
    folder, config, model, tokenizer = open_folder(path)
    tasks = run_tasks(config)
    step, params = restore_params(folder.checkpoints, folder.fingerprint, model, tasks, which)
    return FinishedRun(config, model, tokenizer, tasks, step, programs.parallel.place(params), programs)
