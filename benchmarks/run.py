"""`python -m benchmarks.run`: this program beside Hugging Face transformers in PyTorch, on this machine, in one run."""

import dataclasses
import signal
import sys
from pathlib import Path
from typing import Any

import tyro

from benchmarks.cases import CASES, NAMES, Case, Work, quick
from benchmarks.machine import describe_machine
from benchmarks.measure import OURS, RIVAL, TRAINING, Measured, Setup, environment, measure
from benchmarks.report import print_goals, print_measured, write_json
from benchmarks.worker import Worker
from bert_jax.cli.command import run_command
from bert_jax.cli.settings import AT_LEAST_1, setting
from bert_jax.config import Dtype
from bert_jax.data.tables import find_file
from bert_jax.errors import InputError, UserError
from bert_jax.tasks import TASKS
from bert_jax.weights.folder import find_weights

BUSY = 0.5  # load before we have begun: other processes want a core half of the time
HOW_TO = "pip install -r requirements-bench.txt, or name a Python that has it (--rival_python), or --ours_only"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Measures speed beside Hugging Face transformers in PyTorch: same texts, examples a step, weights, dropout rates,
    AdamW and type, in turn, each side in a process of its own. On a busy machine the figures mean little.
    """

    case: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A case to measure, such as C1; several with commas between them, or the flag again. Default: all."""
    model: str | None = None
    """Only the cases of this size of model."""
    dtype: Dtype | None = None
    """Only the cases that compute in this type."""
    quick: bool = False
    """Every CPU case with a tiny model and two batches, to see that it works; without torch, our side alone."""
    ours_only: bool = False
    """Leave out the rival."""
    rival_python: str | None = None
    """The Python of an environment with torch and transformers. Default: the one that runs this."""
    data_dir: Path | None = None
    """Folder with the course's tables. Default: random words, texts as long as the tables' are."""
    vocab: str = "all-minilm-l6-v2"
    """Where the vocabulary for --data_dir is: a folder, a hub id, or a package, as for --init of train.main."""
    output: Path = Path("runs/benchmark.json")
    """Where everything that was measured goes, as JSON."""
    repeats: int | None = setting(None, range=AT_LEAST_1)
    """Pairs of runs, ours and the rival's, of each piece of work. Default: 5, or 2 with --quick."""
    batches: int | None = None
    """Batches of an epoch or a dev set that stand for all of them; 0 is all. Default: the case's own, 8 of an epoch on
    a CPU, 64 on a GPU."""


def main(settings: Settings) -> None:
    """Checks the flags, measures work by work, and says at the end which goals are reached."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C, so that the workers end as well
    cases = choose_cases(settings)
    check_settings(settings)
    with Worker(sys.executable, OURS, {}) as worker:
        ours = worker.ask("hello")
    rival = None if settings.ours_only else find_rival(settings)
    if not ours["gpu"] and any(case.work.device == "gpu" for case in cases):
        left_out = dict.fromkeys(case.name for case in cases if case.work.device == "gpu")
        print(f"no GPU was found, so these cases are left out: {', '.join(left_out)}")
        cases = [case for case in cases if case.work.device == "cpu"]
    setup = Setup(
        rival_python=python_of(settings) if rival else None,
        repeats=settings.repeats or (2 if settings.quick else 5),
        data_dir=str(settings.data_dir.resolve()) if settings.data_dir else None,
        vocab=str(Path(settings.vocab).resolve()) if Path(settings.vocab).is_dir() else settings.vocab,
        quick=settings.quick,
    )
    about = {
        "machine": describe_machine(),
        "ours": ours,
        "rival": rival,
        "environment": environment("cpu"),
        "training": TRAINING,
        "repeats": setup.repeats,
        "texts": "the course's tables" if setup.data_dir else "random words, as long as the course's texts",
    }
    print_about(about)
    results: dict[Work, Measured] = {}
    failed: list[str] = []
    write_json(settings.output, about, cases, results)  # what cannot be written is said now
    works = list(dict.fromkeys(case.work for case in cases))
    for number, work in enumerate(works, start=1):
        print(f"measuring {number} of {len(works)}: {work}", file=sys.stderr, flush=True)
        try:
            results[work] = measure(work, setup)
            print_measured(results[work])
        except UserError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            failed.append(str(work))
        write_json(settings.output, about | {"failed": failed}, cases, results)  # a long run leaves what it has
    print_goals(cases, results)
    if settings.quick:
        print("the goals are those of larger models: with --quick these figures mean nothing")
    print(f"everything that was measured: {settings.output}")
    if failed:
        raise UserError(f"{len(failed)} of {len(works)} could not be measured: {'; '.join(failed)}")


def choose_cases(settings: Settings) -> list[Case]:
    """The cases that are asked for, each once.

    Raises:
      InputError: there are none.
    """
    asked = [name.strip().upper() for text in settings.case for name in text.split(",") if name.strip()]
    for name in asked:
        if name not in NAMES:
            raise InputError(f"--case={name}, but the cases are {', '.join(NAMES)}")
    cases = [case for case in CASES if case.name in (asked or NAMES)]
    for name in ("model", "dtype"):
        wanted, there = getattr(settings, name), dict.fromkeys(getattr(case.work, name) for case in cases)
        cases = [case for case in cases if wanted in (None, getattr(case.work, name))]
        if not cases:
            raise InputError(f"--{name}={wanted}, but these cases have {', '.join(there)}")
    if settings.quick:
        cases = [dataclasses.replace(case, work=quick(case.work)) for case in cases if case.work.device == "cpu"]
        if not cases:
            raise InputError("--quick measures CPU cases, and --case names none")
    if settings.batches is not None:
        cases = [_with_count(case, settings.batches) for case in cases]
    return list(dict.fromkeys(cases))


def _with_count(case: Case, count: int) -> Case:
    is_sample = case.work.kind in ("epoch", "evaluation")
    return dataclasses.replace(case, work=dataclasses.replace(case.work, count=count)) if is_sample else case


def check_settings(settings: Settings) -> None:
    """Raises UserError for what would otherwise be wrong only after minutes."""
    if settings.batches is not None and settings.batches < 0:
        raise InputError(f"--batches={settings.batches}, but it must be 0, for all, or more")
    if settings.ours_only and settings.rival_python:
        raise InputError("--ours_only leaves out the rival, so --rival_python has no use")
    if settings.data_dir:
        for split in ("train", "dev"):
            find_file(settings.data_dir, TASKS["sst"], split)
        find_weights(settings.vocab)


def python_of(settings: Settings) -> str:
    """The Python that runs the rival."""
    return settings.rival_python or sys.executable


def find_rival(settings: Settings) -> dict[str, Any] | None:
    """What the rival says of itself; None, and a line that says so, if it is not there and need not be.

    Raises:
      InputError: it cannot run.
    """
    try:
        with Worker(python_of(settings), RIVAL, {}) as worker:
            return worker.ask("hello")
    except UserError as error:
        if settings.quick and settings.rival_python is None:
            print("torch or transformers is not installed, so our side runs alone")
            return None
        raise InputError(f"{error}; {HOW_TO}") from error.__cause__


def print_about(about: dict[str, Any]) -> None:
    """Prints the machine, the versions, and what holds for all cases."""
    machine, sides = about["machine"], [about["ours"], about["rival"] or {"versions": {}}]
    versions = {"Python": machine["python"]} | {name: v for side in sides for name, v in side["versions"].items()}
    busy = f"; load {machine['load']:g}" + (", so it is busy" if machine["load"] > BUSY else "")
    how = ", ".join(f"{name} {value:g}" for name, value in about["training"].items())
    print(f"machine   {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB{busy}")
    if about["ours"]["gpu"]:
        print(f"GPU       {about['ours']['gpu']}")
    print(f"versions  {', '.join(f'{name} {version}' for name, version in versions.items())}")
    print(f"both      GLIBC_TUNABLES={about['environment']['GLIBC_TUNABLES']}, {how}")
    print(f"texts     {about['texts']}\n", flush=True)


if __name__ == "__main__":
    run_command(Settings, main, "benchmarks.run")
