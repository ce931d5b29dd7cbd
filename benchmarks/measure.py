"""Measures one piece of work: both sides' losses compared, then both sides' seconds, in turn."""

import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.cases import RIVALS, Device, Work, side_title
from benchmarks.worker import Worker
from bert_jax.errors import UserError

OURS, RIVAL = "benchmarks.ours", "benchmarks.rival"
TRAINING = {"lr": 1e-5, "weight_decay": 0.01, "head_dropout": 0.3}  # both sides'; AdamW at a constant rate, eps 1e-6
TOLERANCE = 1e-4  # of an example's loss, between the two sides in float32
# Rows, inner and columns of the products that show what the machine can do, and how often each is tried.
PRODUCTS: dict[Device, tuple[tuple[int, int, int], ...]] = {
    "cpu": ((832, 768, 3072), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 768, 3072)),
    "gpu": ((4096, 4096, 4096), (8192, 8192, 8192)),
}
QUICK_PRODUCTS = ((256, 256, 256),)
TRIES = 3
# As `bert_jax.cli.environment.keep_compiled_programs` has it, but for the folder.
CACHE = {
    "JAX_ENABLE_COMPILATION_CACHE": "true",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
}


@dataclasses.dataclass(frozen=True)
class Setup:
    """How it is measured.

    rival_python: the Python that runs the rival, or None for our side alone.
    repeats: pairs of runs that are kept; one more goes before them to compile and to warm up.
    quick: whether the machine's products are small ones.
    """

    rival_python: str | None
    repeats: int
    data_dir: str | None = None
    vocab: str = ""
    quick: bool = False


@dataclasses.dataclass
class Measured:
    """What was measured of a piece of work. Sides are "ours" and names in RIVALS.

    amounts: what one run is, of our side and of each way to make batches; see `loads.Load`.
    seconds: of each run of a side; the n-th runs of all sides were made one after the other.
    losses: the mean loss of each run.
    ceilings: FLOP/s of the best bare product in each repeat, by "ours" and "rival".
    differences: the largest of an example's loss between the two sides, by type.
    compiled: seconds to trace and compile the first step, "cold" and "warm", and the number of "programs".
    """

    work: Work
    amounts: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    losses: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    ceilings: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    differences: dict[str, float] = dataclasses.field(default_factory=dict)
    compiled: dict[str, list[float]] = dataclasses.field(default_factory=dict)


def environment(device: Device) -> dict[str, str]:
    """What both sides' processes have in their environment: the same."""
    found = {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")}
    if device == "cpu":
        return found | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return found | {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.4"}  # JAX would take the memory that the rival needs


def measure(work: Work, setup: Setup) -> Measured:
    """Measures a piece of work in processes of its own.

    Raises:
      UserError: a side failed, or the two do not compute the same.
    """
    return _measure_compilation(work, setup) if work.kind == "compile" else _measure_runs(work, setup)


def _measure_runs(work: Work, setup: Setup) -> Measured:
    found = Measured(work)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        ours = stack.enter_context(Worker(sys.executable, OURS, environment(work.device)))
        found.amounts = _prepare(ours, work, setup, folder)
        workers = {"ours": ours}
        runs: dict[str, Callable[[], dict[str, float]]] = {"ours": lambda: ours.ask("run")}
        if work.rivals and setup.rival_python:
            rival = stack.enter_context(Worker(setup.rival_python, RIVAL, environment(work.device)))
            rival.ask("prepare", work=dataclasses.asdict(work), settings=TRAINING, folder=folder)
            workers["rival"] = rival
            found.differences = compare_losses(work, ours, rival)
            runs |= {name: _rival_run(rival, name) for name in work.rivals}
        for side, run in runs.items():
            _say(f"{side_title(side)}: the first run, with compiling, took {run()['seconds']:.1f} s")
        found.seconds, found.losses = {side: [] for side in runs}, {side: [] for side in runs}
        found.ceilings = {side: [] for side in workers}
        for repeat in range(setup.repeats):
            for side in list(runs)[:: 1 if repeat % 2 == 0 else -1]:
                answer = runs[side]()
                found.seconds[side].append(answer["seconds"])
                found.losses[side].append(answer["loss"])
            taken = ", ".join(f"{side_title(side)} {seconds[-1]:.2f} s" for side, seconds in found.seconds.items())
            _say(f"{repeat + 1} of {setup.repeats}: {taken}")
            for side, worker in workers.items():
                found.ceilings[side].append(_ceiling(worker, work, setup))
    if work.kind == "evaluation" and work.dtype == "float32":
        for name in runs:
            check_difference(work, abs(found.losses[name][0] - found.losses["ours"][0]), "the mean loss")
    return found


def _say(line: str) -> None:
    """A compiler can take minutes, so that a reader wants to see what is being waited for."""
    print(f"  {line}", file=sys.stderr, flush=True)


def _rival_run(rival: Worker, name: str) -> Callable[[], dict[str, float]]:
    way = RIVALS[name]
    return lambda: rival.ask("run", batches=way.batches, compile=way.compile)


def _prepare(ours: Worker, work: Work, setup: Setup, folder: str) -> dict[str, Any]:
    asked = dataclasses.asdict(work) if setup.rival_python else dataclasses.asdict(work) | {"rivals": ()}
    return ours.ask("prepare", work=asked, settings=TRAINING, folder=folder, data_dir=setup.data_dir, vocab=setup.vocab)


def _ceiling(worker: Worker, work: Work, setup: Setup) -> float:
    products = QUICK_PRODUCTS if setup.quick else PRODUCTS[work.device]
    return max(
        worker.ask("product", rows=rows, inner=inner, columns=columns, dtype=work.dtype, repeats=TRIES)
        for rows, inner, columns in products
    )


def compare_losses(work: Work, ours: Worker, rival: Worker) -> dict[str, float]:
    """The largest difference of an example's loss, in float32 and in the type of the work.

    Raises:
      UserError: it is too large in float32.
    """
    differences = {}
    for dtype in dict.fromkeys(("float32", work.dtype)):
        pairs = zip(ours.ask("losses", dtype=dtype), rival.ask("losses", dtype=dtype), strict=True)
        differences[dtype] = max(abs(a - b) for a, b in pairs)
    check_difference(work, differences["float32"], "the loss of an example")
    return differences


def check_difference(work: Work, difference: float, what: str) -> None:
    """Raises UserError if the two sides differ by too much, or by no number."""
    if not difference <= TOLERANCE:
        raise UserError(f"{work}: {what} is {difference:.2g} from the rival's in float32, more than {TOLERANCE:g}")


def _measure_compilation(work: Work, setup: Setup) -> Measured:
    """Two fresh processes a repeat, the first with an empty cache, the second with what the first has left in it."""
    found = Measured(work, compiled={"cold": [], "warm": [], "programs": []})
    for _ in range(setup.repeats):
        with tempfile.TemporaryDirectory() as folder:
            cache = CACHE | {"JAX_COMPILATION_CACHE_DIR": folder}
            for state in ("cold", "warm"):
                with Worker(sys.executable, OURS, environment(work.device) | cache) as ours:
                    found.amounts = _prepare(ours, work, setup, folder)
                    answer = ours.ask("run")
                found.compiled[state].append(answer["seconds"])
                _say(f"{state}: {answer['seconds']:.2f} s")
            found.compiled["programs"].append(answer["programs"])
    return found
