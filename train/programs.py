"""Compiled steps, each made once, so that runs in one process share those that they have in common."""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.tasks import Task
from train.optim import make_optimizer
from train.parallel import Method, Parallel
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
        lr: float,
        weight_decay: float,
        trained: tuple[str, ...],
        seed: int,
        accumulate: int = 1,
    ) -> Callable[..., Any]:
        """As `make_train_step` makes it with `make_optimizer`'s optimizer, compiled."""

        def make() -> Callable[..., Any]:
            step = make_train_step(model, task, make_optimizer(lr, weight_decay), trained, seed, accumulate)
            return self.parallel.compile_train_step(step, accumulate)

        return self._once(("train", _relevant(model, task), task, lr, weight_decay, trained, seed, accumulate), make)

    def predict_step(self, model: ModelConfig, task: Task) -> Callable[..., Any]:
        """As `make_predict_step` makes it, compiled."""
        return self._once(
            ("predict", _relevant(model, task), task),
            lambda: self.parallel.compile_predict_step(make_predict_step(model, task)),
        )

    def _once(self, key: Hashable, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _relevant(model: ModelConfig, task: Task) -> ModelConfig:
    """The same for two models that are one to this task."""
    return model if task.kind == "similarity" else dataclasses.replace(model, similarity_head="linear")
