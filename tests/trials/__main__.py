"""`python -m tests.trials [NAME ...]`: runs trials and prints one JSON line for each."""

import argparse
import concurrent.futures
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.trials import (
    artefacts,
    audit,
    choices,
    devices,
    disks,
    exact,
    folders,
    kills,
    masks,
    neighbours,
    order,
    processes,
    skips,
    tables,
    weights,
)
from tests.trials.harness import PROGRAMS, ROOT, SABOTAGE, Outcome, Trial
from tests.trials.runs import compile_programs, copy_programs
from tests.trials.sabotage import SABOTAGES, apply_sabotage

MODULES = (
    *(audit, artefacts, choices, devices, disks, exact, folders, kills, masks, neighbours, order, processes, skips),
    *(tables, weights),
)
TRIALS: dict[str, Trial] = {
    trial.name: trial
    for trial in sorted((trial for module in MODULES for trial in module.TRIALS), key=lambda trial: int(trial.name[1:]))
}


def run_trial(trial: Trial, quick: bool) -> dict:
    """Runs one trial in a folder of its own and describes how it went."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"trial-{trial.name}-") as folder:
        try:
            if trial.compiled:
                copy_programs(Path(folder))
            outcome = trial.run(quick, Path(folder))
        except Exception as error:  # of the trial, not of what it tries
            outcome = Outcome(failures=[f"the trial itself broke: {error!r}"])
    packages = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "trial": trial.name,
        "passed": outcome.passed,
        "claim": trial.claim,
        "n": outcome.n,
        "exposure": dict(outcome.exposure),
        "failures": outcome.failures[:10] + outcome.missing,
        "seconds": round(time.monotonic() - began, 1),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
    }


def run_apart(trial: Trial, quick: bool, without: str | None, programs: Path) -> dict:
    """Runs one trial in a process of its own; without one of its guards it is as it should be if the trial fails."""
    command = [sys.executable, "-m", "tests.trials", trial.name, *(["--quick"] if quick else [])]
    environment = {**os.environ, PROGRAMS: str(programs), **({SABOTAGE: without} if without else {})}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    try:
        result = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):  # the trial itself broke
        result = {"trial": trial.name, "passed": False, "failures": [], "seconds": 0, "stderr": done.stderr[-2000:]}
    if without is None:
        return result
    noticed = not result["passed"] and bool(result["failures"])
    return {"trial": trial.name, "sabotage": without, "noticed": noticed, "failures": result["failures"][:3]}


def run_all(cases: list[tuple[Trial, str | None]], quick: bool, jobs: int) -> Iterator[dict]:
    """Runs trials, each without one of its guards or whole, so many at a time; yields how they went as they end.

    Those that need no programs begin while these are compiled, and of both kinds the longest, so that all workers end
    at about the same time.
    """
    ordered = sorted(cases, key=lambda case: (case[0].compiled, -case[0].seconds))
    with tempfile.TemporaryDirectory(prefix="trials-") as folder, concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        programs = Path(folder) / "programs"
        programs.mkdir()
        compiling = pool.submit(compile_programs, programs) if any(trial.compiled for trial, _ in cases) else None

        def one(trial: Trial, without: str | None) -> dict:
            if compiling and trial.compiled:
                compiling.result()
            return run_apart(trial, quick, without, programs)

        for done in concurrent.futures.as_completed([pool.submit(one, *case) for case in ordered]):
            yield done.result()


def main() -> int:
    """Exits with 0 if every trial passed, or with --sabotage if every sabotage was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TRIALS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a small number of cases of each")
    parser.add_argument("--sabotage", action="store_true", help="run each trial on builds that lack its guard")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time; each has a process of its own")
    flags = parser.parse_args()
    unknown = set(flags.names) - set(TRIALS)
    if unknown:
        parser.error(f"there is no trial {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}")
    trials = [TRIALS[name] for name in flags.names or TRIALS]
    if len(trials) == 1 and not flags.sabotage:
        apply_sabotage()
        result = run_trial(trials[0], flags.quick)
        print(json.dumps(result), flush=True)
        return 0 if result["passed"] else 1
    cases = [(trial, without) for trial in trials for without in (trial.sabotages if flags.sabotage else (None,))]
    good = True
    for result in run_all(cases, flags.quick, flags.jobs):
        print(json.dumps(result), flush=True)
        good = good and result["noticed" if flags.sabotage else "passed"]
    return 0 if good else 1


assert all(name in SABOTAGES for trial in TRIALS.values() for name in trial.sabotages)

if __name__ == "__main__":
    sys.exit(main())
