"""T23: models and run folders that mean harm."""

import contextlib
import os
import pickle
import resource
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.trials import harness
from tests.trials.harness import ROOT, Ended, Outcome, Trial
from tests.trials.hostile_models import CANARY, MODELS, Artefact, bomb
from tests.trials.hostile_runs import GIANTS, LINKS, RECORDS, good_run
from tests.trials.weights import good_model

CLAIM = (
    "A model or a run's folder that means harm is exit 2 or 3 and one sentence, within 10 s and 1 GB. Nothing in it is "
    "run, and nothing outside the run's folder is written."
)
SECONDS = 10
MEMORY = 10**9  # bytes


def run(quick: bool, folder: Path) -> Outcome:
    outcome = Outcome()
    _hear_the_canary(outcome, folder)
    few = 6 if quick else 1
    models = [artefact for kind in MODELS for artefact in kind[::few]]
    records, links, giants = RECORDS[::few], LINKS[::few], () if quick else GIANTS
    for artefact in models:
        with _case(folder) as place:
            artefact.spoil(good_model().write(place / "model"))
            model = f"--init={place / 'model'}"
            _refuse(outcome, artefact, place, "train.main", model, "--tasks=sst", f"--run_dir={place / 'run'}")
            if not quick:
                _refuse(outcome, artefact, place, "eval.encode", model, f"--output={place / 'out.npy'}")
    for artefact in records:
        with _case(folder) as place:
            artefact.spoil(good_run(place / "run"))
            _refuse(outcome, artefact, place, "eval.main", f"--run_dir={place / 'run'}")
            if not quick:
                _refuse(outcome, artefact, place, "eval.predict", f"--run_dir={place / 'run'}", "--task=sst")
    for artefact in links:
        with _case(folder) as place:
            artefact.spoil(good_run(place / "run"))
            _refuse(outcome, artefact, place, "train.main", "--tasks=sst", f"--run_dir={place / 'run'}")
    for artefact in giants:
        with _case(folder) as place:
            artefact.spoil(good_run(place / "run"))
            _refuse(outcome, artefact, place, "eval.main", f"--run_dir={place / 'run'}", env=harness.environment())
    outcome.require("models refused", len(models) * (1 if quick else 2))
    outcome.require("runs refused", len(records) * (1 if quick else 2) + len(links) + len(giants))
    return outcome


@contextlib.contextmanager
def _case(folder: Path) -> Iterator[Path]:
    place = folder / "case"
    place.mkdir()
    yield place
    shutil.rmtree(place)


def _refuse(
    outcome: Outcome, artefact: Artefact, place: Path, command: str, *flags: str, env: dict[str, str] | None = None
) -> None:
    """Runs a command, where nothing else is said in a process that may not import JAX, and judges how it ended."""
    before = snapshot(place)
    ended, memory = run_measured(place, command, *flags, env=env or harness.without_jax(place.parent))
    outcome.n += 1
    for what, much in (("MB at the most", memory // 10**6), ("ms at the most", int(1000 * ended.seconds))):
        outcome.exposure[what] = max(outcome.exposure[what], much)
    said = ended.err.removesuffix("\n")
    good = [
        ended.is_one_sentence(artefact.code, artefact.reason),
        said.isprintable() and len(said) < 2000 and not ended.out,
        ended.seconds < SECONDS and memory < MEMORY,
        not (ROOT / CANARY).exists() and snapshot(place) == before,
    ]
    wanted = f"{artefact.name}, {command}: wanted exit {artefact.code} and {artefact.reason!r}"
    outcome.check(all(good), f"{wanted}, but {ended}, {memory // 10**6} MB; {good}")
    outcome.exposure["models refused" if (place / "model").exists() else "runs refused"] += all(good)


def run_measured(place: Path, module: str, *flags: str, env: dict[str, str]) -> tuple[Ended, int]:
    """Runs `python -m MODULE FLAGS` to its end, and says how much memory it had at the most, in bytes."""
    began = time.monotonic()
    with (place.parent / "out").open("w") as out, (place.parent / "err").open("w") as err:
        process = harness.start(module, *flags, stdout=out, stderr=err, env=env, preexec_fn=_limit_memory)
        killer = threading.Timer(2 * SECONDS, process.kill)
        killer.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        killer.cancel()
        seconds = time.monotonic() - began
    said, complained = ((place.parent / name).read_text(errors="replace") for name in ("out", "err"))
    unit = 1 if sys.platform == "darwin" else 1024
    return Ended(process.returncode, said, complained, seconds), usage.ru_maxrss * unit


def _limit_memory() -> None:
    """Spares the machine on which a trial fails."""
    resource.setrlimit(resource.RLIMIT_DATA, (3 * MEMORY, 3 * MEMORY))


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Kind, size and time of change of everything below a folder but a run's lock. Some is too large to be read."""
    found = {str(path.relative_to(folder)): path.lstat() for path in folder.rglob("*")}
    found.pop("run/lock", None)
    return {name: (info.st_mode, info.st_size, info.st_mtime_ns) for name, info in found.items()}


def _hear_the_canary(outcome: Outcome, folder: Path) -> None:
    """The pickles do run code when they are loaded."""
    place = folder / "loaded"
    place.mkdir()
    pickle.loads(bomb(place / "model"))
    outcome.exposure["canaries that sing"] = int((place / CANARY).exists())
    outcome.require("canaries that sing", 1)


TRIALS = (Trial("T23", CLAIM, run, ("values_not_checked", "files_not_checked", "pickles_read")),)
