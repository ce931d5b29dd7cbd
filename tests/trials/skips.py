"""Losses and gradients that are not finite (T18)."""

import json
from pathlib import Path

import numpy as np

from tests.trials.faults import FAULT
from tests.trials.harness import Outcome, Trial
from tests.trials.runs import SmallRun, read_arrays

FLAGS = ("--tasks=sst,quora,sts", "--batch_size=20", "--epochs=1", "--save_every=1")
KINDS = {"sst": "classification", "quora": "paraphrase", "sts": "similarity"}


def not_finite(quick: bool, folder: Path) -> Outcome:
    """The loss, or its gradient alone, of one task or of one task three times running."""
    outcome = Outcome()
    tasks = ("sst", "sts") if quick else tuple(KINDS)
    for task in tasks:
        for what in ("gradient",) if quick else ("nan", "inf", "gradient"):
            _one_bad_update(task, what, folder, outcome)
    for task in tasks[:1] if quick else tasks:
        _three_in_a_row(task, folder, outcome)
    outcome.require("skipped", 5 if quick else 18)
    outcome.require("ended with code 4", 1 if quick else 3)
    outcome.require("checkpoints looked into", 6 if quick else 20)
    return outcome


def _one_bad_update(task: str, what: str, folder: Path, outcome: Outcome) -> None:
    """Skipped, counted and logged; the next updates are applied."""
    outcome.n += 1
    small = SmallRun(folder / f"{task}-{what}", folder / "cache", (*FLAGS, "--max_steps=9"))
    ended = small.finish(env=small.env | {FAULT: f"not_finite:{KINDS[task]}:{what}:1"})
    name = f"{task} {what}"
    if outcome.check(ended.code == 0 and "update skipped" in ended.err, f"{name}: {ended}"):
        lines = [json.loads(line) for line in (small.path / "metrics.jsonl").read_text().splitlines()]
        skipped = [line for line in lines if "skipped" in line]
        right = [(line["skipped"], line["in_all"]) for line in skipped] == [(task, {task: 1})]
        outcome.check(right, f"{name}: the log says {skipped}")
        outcome.exposure["skipped"] += len(skipped)
    _look_into(small.path, 9, name, outcome, counted=8)


def _three_in_a_row(task: str, folder: Path, outcome: Outcome) -> None:
    """The run ends with code 4, and what was saved before is fine."""
    outcome.n += 1
    flags = (*FLAGS, "--scheduler=baseline", f"--tasks={task},{'sts' if task != 'sts' else 'sst'}", "--max_steps=9")
    small = SmallRun(folder / f"{task}-three", folder / "cache", flags)
    ended = small.finish(env=small.env | {FAULT: f"not_finite:{KINDS[task]}:nan:4,5,6"})
    right = ended.code == 4 and "the third in a row" in ended.err.splitlines()[-1]
    outcome.check(right, f"{task}, three in a row: {ended}")
    outcome.exposure["ended with code 4"] += ended.code == 4
    outcome.exposure["skipped"] += ended.err.count("update skipped")
    _look_into(small.path, 6, f"{task}, three in a row", outcome, counted=4)


def _look_into(run_dir: Path, newest: int, name: str, outcome: Outcome, counted: int) -> None:
    """Every value of every checkpoint is finite, and the optimizer has counted the updates that were applied."""
    for step in (run_dir / "checkpoints").iterdir():
        outcome.exposure["checkpoints looked into"] += 1
        leaves = {**read_arrays(step / "params"), **read_arrays(step / "opt_state")}
        bad = [path for path, leaf in leaves.items() if not np.isfinite(leaf).all()]
        outcome.check(not bad, f"{name}: checkpoint {step.name} holds values that are not finite: {bad[:3]}")
        if int(step.name) == newest:
            (count,) = [int(leaf) for path, leaf in leaves.items() if "bert" in path and path.endswith("count")]
            outcome.check(count == counted, f"{name}: {count} updates of the encoder were applied, not {counted}")


TRIALS = (
    Trial("T18", "an update that is not finite is skipped, three in a row end the run, none is saved", not_finite,
          ("updates_not_checked",), seconds=70, compiled=True),
)  # fmt: skip
