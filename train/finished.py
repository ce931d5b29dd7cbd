"""A run that has been trained, to be judged: its tasks, its tokenizer, and a checkpoint that predicts."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.data.tables import Example
from bert_jax.heads import Params
from bert_jax.tasks import Task
from bert_jax.tokenizer import EncodedExamples, Tokenizer, encode_examples
from eval.evaluate import predict_split, split_batches
from train.checkpoint import restore_params
from train.config import TrainConfig
from train.inputs import run_tasks
from train.programs import Programs
from train.rundir import open_run


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A checkpoint of a run.

    step: updates that made it.
    params: on all devices of `programs`.
    """

    config: TrainConfig
    model: ModelConfig
    tokenizer: Tokenizer
    tasks: tuple[Task, ...]
    step: int
    params: Params
    programs: Programs

    @property
    def max_length(self) -> int:
        """Tokens a text may have."""
        return min(self.config.max_length, self.model.bert.max_position_embeddings)

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
        size = min(batch_size, len(encoded))
        batches = split_batches(task, encoded, self.tokenizer.vocab, size, shares, self.config.row_length)
        params = self.programs.parallel.arrange(self.params)  # as in training, so that its programs serve here as well
        return predict_split(lambda batch: step(params, batch), batches, check)


def restore_run(path: Path, which: Literal["best", "latest"], programs: Programs) -> FinishedRun:
    """The best or the newest checkpoint of a run; of a recipe, that of the last stage that was begun.

    Raises:
      InputError: the folder is no run.
      WeightsError: it has no checkpoint, or a damaged one.
    """
    folder, config, model, tokenizer = open_run(path)
    tasks = run_tasks(config)
    step, params = restore_params(folder.checkpoints, folder.fingerprint, model, tasks, which)
    return FinishedRun(config, model, tokenizer, tasks, step, programs.parallel.place(params), programs)
