"""What our side times: the program's own loop, its own evaluation, its compilation, and bare matrix products."""

import contextlib
import dataclasses
import io
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.batches.batches import Batches
from bert_jax.cli.interrupt import Interrupt
from bert_jax.config import ModelConfig
from bert_jax.heads import Params
from bert_jax.tasks import Task
from eval.evaluate import predict_split
from train.devices.programs import Programs
from train.loop import Counters, Intervals, fit
from train.losses import LOSSES
from train.optim import make_optimizer
from train.resolve import ResolvedTraining
from train.step import init_state, trained_parts

TaskBatches = Mapping[Task, Batches]


class NoStore:
    """In place of checkpoints: `fit` saves and scores at the end of an epoch, which is not timed here."""

    def save(self, state: Any, counters: dict[str, Any]) -> None: ...

    def record_score(self, step: int, score: float) -> None: ...

    def check(self) -> None: ...


class Training:
    """An epoch over some batches, task by task, by the program's own loop."""

    def __init__(
        self, programs: Programs, model: ModelConfig, params: Params, tasks: Sequence[Task], lr: float, decay: float
    ):
        """A state, and a step for each task; nothing is compiled yet."""
        parts = {task: trained_parts(model, task) for task in tasks}
        training = ResolvedTraining(lr=lr, weight_decay=decay)
        self.steps = {task.name: programs.train_step(model, task, training, parts[task], 0) for task in tasks}
        trained = {part for names in parts.values() for part in names}
        state = init_state(jax.tree.map(jnp.asarray, params), make_optimizer(lr, decay), trained)
        self.state = programs.parallel.arrange(state)

    def run(self, batches: TaskBatches) -> dict[str, float]:
        """One update a batch: seconds until the last is done, and the mean of the losses."""
        schedule = [task.name for task, taken in batches.items() for _ in range(len(taken))]
        by_name = {task.name: taken for task, taken in batches.items()}
        lines: list[dict[str, Any]] = []
        # Dropout is that of step 0 onwards in every run; the optimizer's own count of updates goes on.
        state = jax.block_until_ready(self.state.replace(step=jnp.int32(0)))
        with contextlib.redirect_stderr(io.StringIO()):
            start = time.perf_counter()
            self.state = fit(
                state,
                Counters(),
                iter(schedule),
                self.steps,
                by_name,
                Intervals(epoch=len(schedule), total=len(schedule), log=len(schedule)),
                evaluated=False,
                evaluate=lambda _: ({}, 0.0),
                checkpoints=NoStore(),
                log=lines.append,
                interrupt=Interrupt(),
            )
            jax.block_until_ready(self.state)
            seconds = time.perf_counter() - start
        losses = next(line["loss"] for line in lines if "loss" in line)
        weights = {task.name: len(taken) for task, taken in batches.items()}
        loss = sum(weights[name] * value for name, value in losses.items()) / len(schedule)
        return {"seconds": seconds, "loss": loss}


def time_evaluation(
    programs: Programs, model: ModelConfig, task: Task, params: Params, batches: Batches
) -> dict[str, float]:
    """Predicts a split once: seconds, and the mean of the losses."""
    predict, params = programs.predict_step(model, task), programs.parallel.arrange(params)
    start = time.perf_counter()
    outputs = predict_split(lambda batch: predict(params, batch), batches)
    seconds = time.perf_counter() - start
    losses = LOSSES[task.kind](jnp.asarray(outputs), jnp.asarray(batches.encoded.labels))
    return {"seconds": seconds, "loss": float(jnp.mean(losses))}


def time_compilation(programs: Programs, training: Training, batches: TaskBatches) -> dict[str, float]:
    """The first step of a process: what it takes beyond the second; and how many programs all the batches need."""
    first = {
        task: dataclasses.replace(taken, indices=taken.indices[:1], shapes=taken.shapes[:1])
        for task, taken in batches.items()
    }
    seconds = [training.run(first)["seconds"] for _ in range(2)]
    training.run(batches)
    return {"seconds": seconds[0] - seconds[1], "programs": programs.parallel.compilations}
