"""Compiled steps, each made once, so that runs in one process share those that they have in common."""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.heads import HEADS
from bert_jax.tasks import KINDS, Task
from train.devices.parallel import Method, Parallel
from train.losses import LOSSES
from train.optim import OPTIMIZERS, make_optimizer
from train.resolve import ResolvedTraining
from train.step import make_predict_step, make_train_step


class Programs:
    """The steps of runs on the same devices. A step's program depends on its arguments here and on shapes alone."""

    def __init__(self, devices: int | None = None, method: Method | None = None):
        """As `Parallel` takes them.

        Raises:
          InputError: there are not so many devices, or the method is not for them.
        """
        self.parallel = Parallel(devices, method)
        self._made: dict[Hashable, Callable[..., Any]] = {}

    def train_step(
        self,
        model: ModelConfig,
        task: Task,
        training: ResolvedTraining,
        trained: tuple[str, ...],
        seed: int,
        accumulate: int = 1,
    ) -> Callable[..., Any]:
        """As `make_train_step` makes it with the optimizer that the settings name, compiled."""
        optimizer = training.lr, training.weight_decay, training.optimizer

        def make() -> Callable[..., Any]:
            step = make_train_step(model, task, make_optimizer(*optimizer), trained, seed, accumulate)
            return self.parallel.compile_train_step(step, accumulate)

        # The rows of the open tables are a part of it: another call may have others under their names.
        rows = OPTIMIZERS[training.optimizer], LOSSES[task.kind], HEADS[task.kind]
        key = "train", _relevant(model, task), task, rows, optimizer, trained, seed, accumulate
        return self.once(key, make)

    def predict_step(self, model: ModelConfig, task: Task) -> Callable[..., Any]:
        """As `make_predict_step` makes it, compiled."""
        return self.once(
            ("predict", _relevant(model, task), task, HEADS[task.kind]),
            lambda: self.parallel.compile_predict_step(make_predict_step(model, task)),
        )

    def once(self, key: Hashable, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        """What is made for a key, made when it is asked for the first time."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _relevant(model: ModelConfig, task: Task) -> ModelConfig:
    """The same for two models that are one to this task."""
    return model if KINDS[task.kind].may_be_cosine else dataclasses.replace(model, similarity_head="linear")
