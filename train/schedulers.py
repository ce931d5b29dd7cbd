"""Which task next: generators of task names, one name an update.

A scheduler is a pure function of (batches an epoch of each task, epochs, seed). It holds no arrays and trains nothing,
so a run resumes by skipping. The n-th time that a task is named, it gives its n-th batch; a task that runs out of
batches starts again, reshuffled.
"""

from collections.abc import Callable, Iterator, Mapping

from bert_jax.batches.order import batches_per_epoch
from bert_jax.errors import InputError, quote

Scheduler = Callable[[Mapping[str, int], int, int], Iterator[str]]


def in_turn(batches: Mapping[str, int], epochs: int, seed: int) -> Iterator[str]:
    """Each epoch, all batches of the first task, then all of the second, and so on (Algorithm 1).

    >>> list(in_turn({"sst": 2, "sts": 1}, epochs=2, seed=0))
    ['sst', 'sst', 'sts', 'sst', 'sst', 'sts']
    """
    for _ in range(epochs):
        for task, count in batches.items():
            for _ in range(count):
                yield task


def mtdnn(batches: Mapping[str, int], epochs: int, seed: int) -> Iterator[str]:
    """Each epoch has as many rounds as the largest task has batches; a round is one batch of every task.

    Smaller tasks are up-sampled: they start again when they run out (Algorithm 2; Liu et al., 2019, mix in proportion
    instead).

    >>> list(mtdnn({"sst": 2, "sts": 1}, epochs=1, seed=0))
    ['sst', 'sts', 'sst', 'sts']
    """
    for _ in range(epochs):
        for _ in range(max(batches.values())):
            yield from batches


def baseline(batches: Mapping[str, int], epochs: int, seed: int) -> Iterator[str]:
    """The first task alone; the others are only evaluated.

    >>> list(baseline({"sst": 2, "sts": 1}, epochs=1, seed=0))
    ['sst', 'sst']
    """
    first = next(iter(batches))
    for _ in range(epochs * batches[first]):
        yield first


SCHEDULERS: dict[str, Scheduler] = {"in_turn": in_turn, "mtdnn": mtdnn, "baseline": baseline}


def make_schedule(scheduler: str, examples: Mapping[str, int], batch_size: int, epochs: int, seed: int) -> list[str]:
    """The task of each update of a run.

    Args:
      examples: number of a task's training examples, by name.

    Raises:
      InputError: the scheduler names another task, or ends before the first update.
    """
    batches = {task: batches_per_epoch(count, batch_size) for task, count in examples.items()}
    schedule = list(SCHEDULERS[scheduler](batches, epochs, seed))
    strange = next((task for task in schedule if task not in batches), None)
    if strange is not None or not schedule:
        said = "names no task" if not schedule else f"names {quote(strange)}"
        raise InputError(f"--scheduler={scheduler} {said}, but the tasks of this run are {', '.join(batches)}")
    return schedule
