"""T15: every row of a table is scored once and in order, on any number of devices and in batches of any size."""

import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.trials import harness
from tests.trials.harness import Outcome, Trial, free_port

SIZES = (1, 7, 16, 127, 128, 129, 245, 863, 1101)  # rows; the last three are CFIMDB's, STS's and SST's dev tables
COUNTS, BATCHES = (1, 2, 4, 8), (1, 16, 64)
TASKS = ("sst", "quora", "sts")
LONGEST = 80  # tokens of a text: some do not fit rows of 64, and come last
TOLERANCE = 1e-6


def set_devices(count: int) -> None:
    """Gives this process so many CPU devices; before JAX looks for them."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={count} --xla_backend_optimization_level=0"


def run(quick: bool, folder: Path) -> Outcome:
    """Random outputs in place of a model's, looked up by each example's number on the device that has the example."""
    outcome = Outcome()
    set_devices(max(COUNTS))
    from train.devices.parallel import Method, Parallel

    as_chosen: list[tuple[int, Method | None]] = [(count, None) for count in COUNTS]
    forced: list[tuple[int, Method | None]] = [(2, "shard_map"), (8, "shard_map"), (1, "pmap")]
    for count, method in [*as_chosen, *([] if quick else forced)]:
        try_devices(Parallel(count, method), quick, outcome)
    for number, other in enumerate(two_processes(quick)):
        if outcome.check(other.code == 0, f"process {number}: {other}"):
            found = json.loads(other.out.splitlines()[-1])  # JAX says something of its own before
            outcome.failures += found["failures"]
            outcome.n += found["n"]
            outcome.exposure.update(found["exposure"])
    for what in ("batches with an empty slot", "batches with an empty share", "rows out of the table's order"):
        outcome.require(what, 10)
    for method, times in {"jit": 1, "pmap": 3, "shard_map": 2}.items():
        outcome.require(f"by {method}", times)
    return outcome


def two_processes(quick: bool) -> list[harness.Ended]:
    """The same in two processes of two devices each: what each of them printed."""
    flags = (free_port(), *(["--quick"] if quick else []))
    processes = [harness.start(__name__, number, *flags) for number in (0, 1)]
    return [harness.wait(process, 600) for process in processes]


def in_process(number: int, port: int, quick: bool) -> Outcome:
    """What one of two processes finds."""
    outcome = Outcome()
    set_devices(2)
    from train.devices.parallel import Parallel, join_processes

    join_processes(f"127.0.0.1:{port}", 2, number, 60)
    try_devices(Parallel(), quick, outcome)
    return outcome


def try_devices(parallel: Any, quick: bool, outcome: Outcome) -> None:
    """Tables of every size, in batches of every size; every process packs its own shares and gets all outputs."""
    predict = parallel.compile_predict_step(lambda table, batch: table[batch.example_ids])
    sizes = (1, 16, 129, 245) if quick else SIZES
    for number, (rows, batch_size) in enumerate(itertools.product(sizes, BATCHES)):
        for task in TASKS if not quick else TASKS[number % 3 :][:1]:
            try_split(task, rows, batch_size, parallel, predict, outcome)
    outcome.exposure[f"by {parallel.method}"] += 1


def try_split(
    name: str, rows: int, batch_size: int, parallel: Any, predict: Callable[..., np.ndarray], outcome: Outcome
) -> None:
    """One table: what is predicted for each row, and its scores by scikit-learn and SciPy."""
    from bert_jax.batches import batches
    from bert_jax.tasks import TASKS
    from eval import evaluate
    from eval.metrics import score_task
    from tests.builders import random_examples

    task, case = TASKS[name], f"{name}, {rows} rows, {batch_size} a batch, {parallel}"
    encoded = random_examples(task, rows, seed=rows, longest=LONGEST)
    rng = np.random.default_rng([rows, batch_size])
    table = rng.normal(size=(max(SIZES), task.num_outputs)).astype(np.float32)  # of one shape: compiled once a batch's
    wanted = table[:rows] if task.kind == "classification" else table[:rows, 0]
    split = batches.evaluation_batches(encoded, batch_size, parallel.count, None)
    split = dataclasses.replace(split, own=parallel.own)
    placed = parallel.place(table if task.kind == "classification" else table[:, 0])
    found = evaluate.predict_split(lambda batch: predict(placed, batch), split)
    outcome.n += 1
    outcome.exposure["rows"] += rows
    order = np.concatenate(split.indices)
    outcome.exposure["rows out of the table's order"] += int((np.diff(order) < 0).sum())
    for number in range(0, len(split), max(1, len(split) // 20)):
        weights = split[number].weights
        outcome.exposure["batches with an empty slot"] += bool((weights == 0).any())
        outcome.exposure["batches with an empty share"] += bool((weights == 0).all(axis=1).any())
    if not outcome.check(np.array_equal(found, wanted), f"{case}: {len(found)} rows, not each once and in order"):
        return
    for metric, (ours, theirs) in scores(task, score_task(task, found, encoded.labels), wanted, encoded.labels).items():
        right = np.allclose(ours, theirs, rtol=0, atol=TOLERANCE, equal_nan=True)
        outcome.check(right, f"{case}: {metric} {ours}, not {theirs}")
        outcome.exposure["scores compared"] += 1


def scores(task: Any, ours: Any, outputs: np.ndarray, labels: np.ndarray) -> dict[str, tuple[Any, Any]]:
    """Metric -> ours, and that of scikit-learn or SciPy."""
    import scipy.stats
    import sklearn.metrics

    if task.kind == "similarity":
        enough = len(labels) > 1 and np.ptp(labels) > 0
        exact = outputs.astype(np.float64), labels.astype(np.float64)
        return {
            "Pearson": (ours["pearson"], scipy.stats.pearsonr(*exact)[0] if enough else np.nan),
            "Spearman": (ours["spearman"], scipy.stats.spearmanr(*exact)[0] if enough else np.nan),
        }
    said = outputs.argmax(1) if task.kind == "classification" else (outputs > 0).astype(int)
    each: Any = {"average": None, "labels": range(task.max_label + 1), "zero_division": 0.0}
    f1 = sklearn.metrics.f1_score(labels.astype(int), said, **each)
    return {"accuracy": (ours["accuracy"], sklearn.metrics.accuracy_score(labels, said)), "F1": (ours["f1"], f1)}


TRIALS = (
    Trial("T15", "every row of a table is scored once and in order, on any number of devices "
          "and processes: accuracy and F1 are "
          "scikit-learn's, correlations SciPy's (1e-6)", run,
          ("rows_as_batched", "last_batch_left_out", "shares_of_the_first_process"), seconds=30),
)  # fmt: skip

if __name__ == "__main__":
    found = in_process(int(sys.argv[1]), int(sys.argv[2]), "--quick" in sys.argv)
    print(json.dumps({"n": found.n, "failures": found.failures, "exposure": found.exposure}))
