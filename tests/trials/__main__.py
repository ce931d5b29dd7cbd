"""`python -m tests.trials [NAME ...]`: runs trials and prints one JSON line for each."""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.trials.harness import ROOT, SABOTAGE, Trial
from tests.trials.sabotage import SABOTAGES, apply_sabotage

TRIALS: dict[str, Trial] = {trial.name: trial for trial in ()}


def run_trial(trial: Trial, quick: bool) -> dict:
    """Runs one trial in a folder of its own and describes how it went."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"trial-{trial.name}-") as folder:
        outcome = trial.run(quick, Path(folder))
    packages = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "trial": trial.name,
        "passed": outcome.passed,
        "claim": trial.claim,
        "n": outcome.n,
        "exposure": dict(outcome.exposure),
        "failures": outcome.failures[:10] + outcome.missing,
        "seconds": round(time.monotonic() - began, 1),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
    }


def run_sabotaged(trial: Trial, name: str, quick: bool) -> dict:
    """Runs one trial in a process in which a guard is missing; it is as it should be if the trial fails."""
    command = [sys.executable, "-m", "tests.trials", trial.name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, SABOTAGE: name}, capture_output=True, text=True)
    try:
        result = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"trial": trial.name, "sabotage": name, "noticed": False, "failures": [done.stderr[-500:]]}
    noticed = not result["passed"] and bool(result["failures"])
    return {"trial": trial.name, "sabotage": name, "noticed": noticed, "failures": result["failures"][:3]}


def main() -> int:
    """Exits with 0 if every trial passed, or with --sabotage if every sabotage was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TRIALS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a small number of cases of each")
    parser.add_argument("--sabotage", action="store_true", help="run each trial on builds that lack its guard")
    flags = parser.parse_args()
    unknown = set(flags.names) - set(TRIALS)
    if unknown:
        parser.error(f"there is no trial {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}")
    apply_sabotage()
    good = True
    for name in flags.names or TRIALS:
        trial = TRIALS[name]
        if flags.sabotage:
            results = [run_sabotaged(trial, each, flags.quick) for each in trial.sabotages]
        else:
            results = [run_trial(trial, flags.quick)]
        for result in results:
            print(json.dumps(result), flush=True)
            good = good and result["noticed" if flags.sabotage else "passed"]
    return 0 if good else 1


assert all(name in SABOTAGES for trial in TRIALS.values() for name in trial.sabotages)

if __name__ == "__main__":
    sys.exit(main())
