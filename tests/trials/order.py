"""T4: which examples a run sees, in which order, how often, and that a restart changes nothing of it."""

import dataclasses
import hashlib
import itertools
import json
import sys
from collections import Counter
from pathlib import Path

from bert_jax.tasks import TASKS
from tests.trials import harness
from tests.trials.harness import Outcome, Trial
from train.schedulers import SCHEDULERS

STEPS = 50  # of the stream that is restarted at every step
SIZES = (
    {"sst": 40, "quora": 75, "sts": 13},  # ragged with each of the batch sizes but 1 and 5
    {"sst": 24, "quora": 24, "sts": 24},
    {"sst": 7, "quora": 50, "sts": 1},
)
TELLING = 12  # examples of a table whose orders will not be the same by chance

Update = tuple[str, tuple[int, ...]]  # a task, and the ids of the examples in its batch


@dataclasses.dataclass(frozen=True)
class Case:
    """A run without a model: tables of some sizes, mixed by a scheduler."""

    scheduler: str
    sizes: int  # place in SIZES
    batch_size: int
    shares: int
    seed: int

    def per_epoch(self) -> dict[str, int]:
        """Batches that each task needs for every example once."""
        return {task: -(-size // self.batch_size) for task, size in SIZES[self.sizes].items()}

    def updates(self) -> dict[str, int]:
        """Updates of each task in one epoch of the run, as the schedulers' docstrings have it."""
        batches = self.per_epoch()
        return {
            "in_turn": batches,
            "mtdnn": dict.fromkeys(batches, max(batches.values())),
            "baseline": dict.fromkeys(list(batches)[:1], next(iter(batches.values()))),
        }[self.scheduler]

    @property
    def epochs(self) -> int:
        """Enough for the stream, and for three orders of every task."""
        return max(3, -(-STEPS // sum(self.updates().values())))


def cases(quick: bool) -> list[Case]:
    """Every scheduler, with tables that fill their batches and tables that do not."""
    if quick:
        return [Case(name, sizes, 8, 1, seed) for name in SCHEDULERS for sizes, seed in ((0, 11711), (1, 3))]
    shapes = ((1, 1), (5, 2), (8, 1), (8, 4), (32, 1))
    every = itertools.product(SCHEDULERS, range(len(SIZES)), shapes, (0, 11711))
    return [Case(name, sizes, batch_size, shares, seed) for name, sizes, (batch_size, shares), seed in every]


def stream(case: Case, done: int = 0, until: int | None = None) -> list[Update]:
    """The updates that a run does from update `done` on: it plans everything anew, then skips what is done."""
    from bert_jax.batches.batches import training_batches
    from bert_jax.batches.order import batches_per_epoch, epoch_order
    from tests.builders import random_examples

    epoch_order.cache_clear()
    tables = {task: random_examples(TASKS[task], size) for task, size in SIZES[case.sizes].items()}
    per_epoch = {task: batches_per_epoch(len(table), case.batch_size) for task, table in tables.items()}
    schedule = list(SCHEDULERS[case.scheduler](per_epoch, case.epochs, case.seed))[:until]
    batches = {
        task: training_batches(tables[task], task, case.seed, case.batch_size, count, case.shares, None)
        for task, count in Counter(schedule).items()
    }
    taken = Counter(schedule[:done])
    updates = []
    for task in schedule[done:]:
        batch = batches[task][taken[task]]
        taken[task] += 1
        updates.append((task, tuple(batch.example_ids[batch.weights > 0].tolist())))
    return updates


def digest(case: Case) -> str:
    """Of the second half of the stream, started in its middle."""
    return hashlib.sha256(repr(stream(case, STEPS // 2, STEPS)).encode()).hexdigest()


def try_restarts(case: Case, outcome: Outcome) -> None:
    """Starts the stream at every step; what is left must be what would have come."""
    full = stream(case, until=STEPS)
    outcome.check(len(full) == STEPS, f"{case}: {len(full)} updates, not {STEPS}")
    for done in range(1, STEPS):
        rest = stream(case, done, STEPS)
        outcome.check(rest == full[done:], f"{case}: another order after a restart at update {done}")
        outcome.n += 1
        outcome.exposure["restarts inside an epoch"] += done % sum(case.updates().values()) > 0


def try_coverage(case: Case, outcome: Outcome, orders: dict[tuple, tuple[int, ...]]) -> None:
    """Each task's updates are as many as documented, and each of its epochs has every example once.

    Args:
      orders: of all epochs seen so far, by all that they may depend on.
    """
    batches_of: dict[str, list[tuple[int, ...]]] = {}
    for task, ids in stream(case):
        batches_of.setdefault(task, []).append(ids)
    wanted = {task: case.epochs * count for task, count in case.updates().items()}
    found = {task: len(batches) for task, batches in batches_of.items()}
    outcome.check(found == wanted, f"{case}: updates {found}, not {wanted}")
    for task, batches in batches_of.items():
        size, per_epoch = SIZES[case.sizes][task], case.per_epoch()[task]
        times, more = divmod(len(batches), per_epoch)
        for epoch in range(times):
            order = tuple(itertools.chain(*batches[epoch * per_epoch : (epoch + 1) * per_epoch]))
            outcome.check(sorted(order) == list(range(size)), f"{case}: {task}, epoch {epoch}: not each example once")
            same = orders.setdefault((size, case.seed, task, epoch), order) == order
            outcome.check(same, f"{case}: {task}, epoch {epoch}: an order of its own")
            outcome.n += 1
        counts = Counter(itertools.chain(*batches))
        wanted_counts = {times + 1: min(more * case.batch_size, size)}
        wanted_counts[times] = size - wanted_counts[times + 1]
        seen = {number: list(counts.values()).count(number) for number in wanted_counts}
        outcome.check(seen == wanted_counts, f"{case}: {task}: examples by times seen {seen}, not {wanted_counts}")
        outcome.exposure["smaller last batches"] += times * (size % case.batch_size > 0)
        outcome.exposure["up-sampled tasks"] += times > case.epochs


def run(quick: bool, folder: Path) -> Outcome:
    """Tries all cases here, and the second half of each stream in a process that hashes strings otherwise."""
    outcome, orders = Outcome(), {}
    outcome.require("restarts inside an epoch", 250)
    outcome.require("smaller last batches", 10)
    outcome.require("up-sampled tasks", 2)
    outcome.require("streams of another process", len(cases(quick)))
    for case in cases(quick):
        try_restarts(case, outcome)
        try_coverage(case, outcome, orders)
    telling = [order for (size, *_), order in orders.items() if size >= TELLING]
    outcome.check(len(set(telling)) == len(telling), "two of (seed, task, epoch) have the same order")
    outcome.exposure["orders compared"] = len(telling)
    other = harness.run(__name__, *(["--quick"] if quick else []), env=harness.environment(PYTHONHASHSEED="1"))
    if outcome.check(other.code == 0, f"the other process: {other}"):
        for case, theirs in zip(cases(quick), json.loads(other.out), strict=True):
            outcome.check(digest(case) == theirs, f"{case}: another order in another process")
            outcome.exposure["streams of another process"] += 1
    return outcome


TRIALS = (
    Trial(
        name="T4",
        claim="A run's examples come in the same order after a restart at any step, and each exactly as often as "
        "documented",
        run=run,
        sabotages=("order_ignores_the_epoch", "order_starts_anew_after_a_restart", "small_last_batch_is_dropped"),
    ),
)

if __name__ == "__main__":
    print(json.dumps([digest(case) for case in cases("--quick" in sys.argv)]))
