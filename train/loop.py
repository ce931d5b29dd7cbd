"""The only training loop."""

import itertools
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from bert_jax.data.batches import Batches
from bert_jax.errors import DivergedError, Interrupted
from bert_jax.heads import Params
from bert_jax.packing import PackedBatch
from train.interrupt import Interrupt
from train.step import TrainState

CompiledStep = Callable[[TrainState, PackedBatch], tuple[TrainState, Mapping[str, jax.Array]]]
Evaluate = Callable[[Params], tuple[dict[str, Any], float]]  # -> what to log, and the score that picks the best


def fit(
    state: TrainState,
    schedule: Iterator[str],
    steps: Mapping[str, CompiledStep],
    batches: Mapping[str, Batches],
    *,
    steps_per_epoch: int,
    total_steps: int,
    evaluate: Evaluate,
    save: Callable[[TrainState, float | None], None],
    log: Callable[[dict[str, Any]], None],
    log_every: int,
) -> TrainState:
    """Trains until `total_steps` updates are done, evaluating and saving after every epoch and at the end.

    Nothing but the state carries over from one update to the next, so a run resumes by skipping the updates that its
    state has behind it: the n-th update of a task takes that task's n-th batch.

    Raises:
      Interrupted: a signal came; the state is saved.
      DivergedError: a loss is not a finite number; the update that gave it is not saved.
    """
    done = int(state.step)
    taken = Counter(itertools.islice(schedule, done))
    pending: tuple[int, str, Mapping[str, jax.Array]] | None = None  # metrics are read one update late
    window = _Window(log, log_every, list(steps))
    with Interrupt() as interrupt, _progress(done, total_steps) as bar:
        for step, task in zip(range(done + 1, total_steps + 1), schedule, strict=False):
            state, metrics = steps[task](state, batches[task][taken[task]])
            taken[task] += 1
            if pending:
                bar.set_postfix_str(window.add(*pending), refresh=False)
            pending = step, task, metrics
            bar.update()
            ends_epoch = step % steps_per_epoch == 0
            if ends_epoch or step == total_steps:
                window.add(*pending)
                pending = None
                scores, score = evaluate(state.params)
                log({"step": step, "epoch": -(-step // steps_per_epoch), "dev": scores, "score": score})
                bar.write(_epoch_line(step, steps_per_epoch, scores), file=sys.stderr)
                save(state, score)
            if interrupt.signal_name and step < total_steps:
                if pending:
                    window.add(*pending)
                save(state, None)
                raise Interrupted(
                    f"{interrupt.signal_name} after {step} of {total_steps} updates; they are saved, and the same "
                    "command goes on from there"
                )
    return state


class _Window:
    """Mean loss of each task over the last updates, logged every so many."""

    def __init__(self, log: Callable[[dict[str, Any]], None], every: int, tasks: list[str]):
        self.log, self.every = log, every
        self.losses: dict[str, list[float]] = {task: [] for task in tasks}
        self.since = time.monotonic()

    def add(self, step: int, task: str, metrics: Mapping[str, jax.Array]) -> str:
        """Takes one update's metrics, which waits for that update; returns what the bar shows."""
        loss = float(metrics["loss"])
        if not math.isfinite(loss):
            raise DivergedError(f"the loss of {task} is {loss} at update {step}; a smaller --lr may help")
        self.losses[task].append(loss)
        means = {name: float(np.mean(losses)) for name, losses in self.losses.items() if losses}
        text = "  ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        if step % self.every == 0:
            now = time.monotonic()
            self.log({"step": step, "loss": means, "seconds": round(now - self.since, 3)})
            if not sys.stderr.isatty():
                print(f"step {step}  loss {text}", file=sys.stderr, flush=True)
            self.losses, self.since = {name: [] for name in self.losses}, now
        return text


def _progress(done: int, total: int) -> tqdm:
    """A bar on a terminal; elsewhere the lines of `_Window` take its place."""
    return tqdm(initial=done, total=total, unit="step", disable=not sys.stderr.isatty(), dynamic_ncols=True)


def _epoch_line(step: int, steps_per_epoch: int, scores: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [f"{task} {name} {values[name]:.3f}" for task, values in scores.items() for name in list(values)[:1]]
    return f"epoch {step / steps_per_epoch:.4g}  dev  " + "  ".join(parts)
