"""The only training loop."""

import dataclasses
import itertools
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import jax
import numpy as np
from tqdm import tqdm

from bert_jax.batches.batches import Batches
from bert_jax.batches.packing import PackedBatch
from bert_jax.cli.interrupt import Interrupt
from bert_jax.errors import DivergedError, Interrupted
from bert_jax.heads import Params
from train.cli.progress import has_bar, progress_bar
from train.step import TrainState

CompiledStep = Callable[[TrainState, PackedBatch], tuple[TrainState, Mapping[str, jax.Array]]]
# A task, the number of its batch, metrics to come, and seconds since the update before that were no update's.
Observe = Callable[[str, int, Mapping[str, jax.Array], float], None]
Evaluate = Callable[[Params], tuple[dict[str, Any], float]]  # -> what to log, and the score that picks the best

MAX_SKIPPED = 3  # updates in a row without a finite loss and gradient that end a run


class Store(Protocol):
    """What the loop asks of checkpoints."""

    def save(self, state: TrainState, counters: dict[str, Any]) -> None:
        """Begins to save a state, and what the loop remembers beside it."""

    def record_score(self, step: int, score: float) -> None:
        """Begins to note the dev score of a saved state."""

    def check(self) -> None:
        """Raises StorageError if a save has failed."""


class NoStore(Store):
    """What a process has that leaves checkpoints to another one: nothing that it is asked for is done."""

    def close(self) -> None: ...

    def restore_latest(self, like: TrainState) -> None: ...


@dataclasses.dataclass
class Counters:
    """What the loop remembers of past updates. It is saved with the state, so that the log goes on as well.

    losses: of each task, since the log's last line.
    skipped: updates of each task that had no finite loss and gradient.
    in_a_row: how many of the last updates were skipped.
    """

    losses: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)
    in_a_row: int = 0


@dataclasses.dataclass(frozen=True)
class Intervals:
    """How often something happens, in updates, or in minutes where it says so."""

    epoch: int
    total: int  # all updates of the run
    log: int
    save: int | None = None
    save_minutes: float = math.inf

    def evaluates(self, step: int) -> bool:
        """Whether the dev tables are scored after an update."""
        return step > 0 and (step % self.epoch == 0 or step == self.total)

    def saves(self, step: int, seconds: float) -> bool:
        """Whether the state is saved after an update that is not followed by an evaluation."""
        return seconds > 60 * self.save_minutes if self.save is None else step % self.save == 0


def fit(
    state: TrainState,
    counters: Counters,
    schedule: Iterator[str],
    steps: Mapping[str, CompiledStep],
    batches: Mapping[str, Batches],
    every: Intervals,
    *,
    evaluated: bool,
    evaluate: Evaluate,
    checkpoints: Store,
    log: Callable[[dict[str, Any]], None],
    interrupt: Interrupt,
    observe: Observe = lambda *_: None,
) -> TrainState:
    """Trains until all updates are done, saving and evaluating after every epoch and at the end.

    Nothing but the state and the counters carries over from one update to the next, so a run resumes by skipping the
    updates that its state has behind it: the n-th update of a task takes that task's n-th batch. A state is saved
    before it is evaluated; if the evaluation is interrupted, the run resumes with it.

    Args:
      evaluated: whether the state given has been evaluated already.
      observe: called after each update is dispatched.

    Raises:
      Interrupted: a signal came; the state is saved.
      DivergedError: three updates in a row had no finite loss and gradient.
      StorageError: a checkpoint or the log cannot be written.
    """
    step = int(state.step)
    taken = Counter(itertools.islice(schedule, step))
    pending: tuple[int, str, int, Mapping[str, jax.Array]] | None = None  # metrics are read one update late
    window = _Window(counters, log, every.log)
    saved_at = time.monotonic()
    aside = 0.0  # seconds of saving and evaluating since the last update

    with progress_bar(step, every.total) as bar:

        def save() -> None:
            nonlocal pending, saved_at
            if pending:
                window.add(*pending)
            pending, saved_at = None, time.monotonic()
            checkpoints.save(state, dataclasses.asdict(counters))
            leave_out(saved_at)

        def leave_out(started: float) -> None:
            nonlocal aside
            seconds = time.monotonic() - started
            window.since += seconds
            aside += seconds

        def judge() -> None:
            started = time.monotonic()
            scores, score = evaluate(state.params)
            leave_out(started)
            log({"step": step, "epoch": -(-step // every.epoch), "dev": scores, "score": score})
            bar.write(_epoch_line(step, every.epoch, scores), file=sys.stderr)
            checkpoints.record_score(step, score)

        try:
            if every.evaluates(step) and not evaluated:
                judge()
            for task in itertools.islice(schedule, every.total - step):
                interrupt.check()
                checkpoints.check()
                number = taken[task]
                state, metrics = steps[task](state, batches[task][number])
                observe(task, number, metrics, aside)
                aside = 0.0
                taken[task] += 1
                step += 1
                if pending:
                    bar.set_postfix_str(window.add(*pending), refresh=False)
                pending = step, task, batches[task].num_examples(number), metrics
                bar.update()
                if every.evaluates(step):
                    save()
                    judge()
                elif every.saves(step, time.monotonic() - saved_at):
                    save()
        except Interrupted:
            save()
            raise Interrupted(
                f"{interrupt.signal_name} after {step} of {every.total} updates; they are saved, and the same "
                "command goes on from there"
            ) from None
    return state


class _Window:
    """Mean loss of each task over the last updates, logged every so many."""

    def __init__(self, counters: Counters, log: Callable[[dict[str, Any]], None], every: int):
        self.counters, self.log, self.every = counters, log, every
        self.since, self.examples = time.monotonic(), 0  # of the updates done since the last line

    def add(self, step: int, task: str, examples: int, metrics: Mapping[str, jax.Array]) -> str:
        """Takes one update's metrics, which waits for that update; returns what the bar shows."""
        loss = float(metrics["loss"])
        self.examples += examples
        if metrics["applied"]:
            self.counters.in_a_row = 0
            self.counters.losses.setdefault(task, []).append(loss)
        else:
            self._skip(step, task, loss)
        means = {name: float(np.mean(losses)) for name, losses in self.counters.losses.items()}
        now = time.monotonic()
        text = "  ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        text += f"  {self.examples / max(now - self.since, 1e-6):,.0f} examples/s"
        if step % self.every == 0:
            self.log({"step": step, "loss": means, "seconds": round(now - self.since, 3)})
            if not has_bar():
                print(f"step {step}  loss {text}", file=sys.stderr, flush=True)
            self.counters.losses, self.since, self.examples = {}, now, 0
        return text

    def _skip(self, step: int, task: str, loss: float) -> None:
        counters = self.counters
        counters.in_a_row += 1
        counters.skipped[task] = counters.skipped.get(task, 0) + 1
        what = f"the gradient of {task} is not finite" if math.isfinite(loss) else f"the loss of {task} is {loss}"
        self.log({"step": step, "skipped": task, "why": what, "in_all": counters.skipped})
        tqdm.write(f"step {step}  {what}: update skipped", file=sys.stderr)
        if counters.in_a_row == MAX_SKIPPED:
            raise DivergedError(f"{what} at update {step}, the third in a row to be skipped; a smaller --lr may help")


def _epoch_line(step: int, steps_per_epoch: int, scores: Mapping[str, Mapping[str, Any]]) -> str:
    shown = ("accuracy", "pearson", "perplexity")
    parts = [f"{task} {name} {values[name]:.3f}" for task, values in scores.items() for name in shown if name in values]
    return f"epoch {step / steps_per_epoch:.4g}  dev  " + "  ".join(parts)
