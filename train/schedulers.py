"""Which task next: generators of task names, one name an update.

A scheduler is a pure function of (batches an epoch of each task, epochs, seed). It holds no arrays and trains nothing,
so a run resumes by skipping. The n-th time that a task is named, it gives its n-th batch; a task that runs out of
batches starts again, reshuffled.
"""

from collections.abc import Callable, Iterator, Mapping

from bert_jax.data.order import batches_per_epoch
from train.config import TrainConfig

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


def make_schedule(config: TrainConfig, examples: Mapping[str, int]) -> list[str]:
    """The task of each update of a run with resolved settings.

    Args:
      examples: number of a task's training examples, by name.
    """
    assert config.epochs is not None
    batches = {task: batches_per_epoch(count, config.batch_size) for task, count in examples.items()}
    return list(SCHEDULERS[config.scheduler](batches, config.epochs, config.seed))
