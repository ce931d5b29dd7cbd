"""What every trial is made of: a claim, cases that may fail, and the proof that the fault really happened."""

import dataclasses
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
JAX_IMPORTED = "JAX was imported"
SABOTAGE = "TRIAL_SABOTAGE"  # names the guard that is taken out of the program, in every process of a trial
PROGRAMS = "TRIAL_PROGRAMS"  # folder with the programs of a small run, from which a trial takes a copy


@dataclasses.dataclass
class Outcome:
    """What a trial found. It passes if nothing failed and the fault happened as often as it had to.

    exposure: how often each thing happened that the trial needs to mean anything.
    """

    n: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    exposure: Counter[str] = dataclasses.field(default_factory=Counter)
    _wanted: dict[str, int] = dataclasses.field(default_factory=dict)

    def check(self, holds: bool, otherwise: str) -> bool:
        """Notes a failure in words unless something holds; returns whether it does."""
        if not holds:
            self.failures.append(otherwise)
        return holds

    def require(self, what: str, at_least: int) -> None:
        """The trial proves nothing unless `what` was counted in `exposure` at least so often."""
        self._wanted[what] = at_least
        self.exposure[what] += 0

    @property
    def missing(self) -> list[str]:
        """What did not happen often enough."""
        return [
            f"{what}: {self.exposure[what]}, not {least}"
            for what, least in self._wanted.items()
            if self.exposure[what] < least
        ]

    @property
    def passed(self) -> bool:
        return self.n > 0 and not self.failures and not self.missing


@dataclasses.dataclass(frozen=True)
class Trial:
    """A claim of docs/trials.md and how it is tried.

    run: (quick, folder of its own) -> Outcome.
    sabotages: names in `sabotage.py`; with any one of them the trial must fail.
    seconds: what its quick form takes, about; the longest begin first.
    compiled: whether its folder has a `cache` with the programs of a small run in it, and is not empty, where several
      trials are run (`runs.py`).
    """

    name: str
    claim: str
    run: Callable[[bool, Path], Outcome]
    sabotages: tuple[str, ...]
    seconds: int = 10
    compiled: bool = False


def environment(**more: str) -> dict[str, str]:
    """Of the processes that a trial starts: one CPU device, compiled fast rather than well, compiled once."""
    settings = {
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "160",
        "PYTHONUNBUFFERED": "1",
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # processes that are killed leave half of a program in it
    }
    return {**os.environ, **settings, **more}


def without_jax(folder: Path) -> dict[str, str]:
    """Of a process in which the import of JAX is an error with a traceback that says so."""
    stub = folder / "without-jax" / "jax.py"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(f"raise AssertionError({JAX_IMPORTED!r})\n")
    return environment(PYTHONPATH=os.pathsep.join([str(stub.parent), *filter(None, [os.environ.get("PYTHONPATH")])]))


def start(module: str, *flags: object, **options) -> subprocess.Popen[str]:
    """Starts `python -m MODULE FLAGS` in the repository, sabotaged if this process is (see `child.py`).

    Args:
      options: of subprocess.Popen; `env` as `environment` makes it.
    """
    command = [sys.executable, "-m", "tests.trials.child", module, *map(str, flags)]
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
    return subprocess.Popen(command, cwd=ROOT, text=True, **settings | options)  # type: ignore[call-overload]


@dataclasses.dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    def is_one_sentence(self, code: int, *parts: str) -> bool:
        """Whether it ended with this code and nothing but one line `error: ...` on stderr that has these parts."""
        one_line = self.err.startswith("error: ") and self.err.count("\n") == 1
        return self.code == code and one_line and all(part in self.err for part in parts)

    def __str__(self) -> str:
        return f"exit {self.code} after {self.seconds:.1f} s: {self.err.strip()[-300:]!r}"


def run(module: str, *flags: object, stdin: str | None = None, timeout: float = 300, **options) -> Ended:
    """Runs `python -m MODULE FLAGS` to its end."""
    if stdin is not None:
        options["stdin"] = subprocess.PIPE
    began = time.monotonic()
    return wait(start(module, *flags, **options), timeout, began, stdin)


def wait(process: subprocess.Popen[str], timeout: float, began: float | None = None, stdin: str | None = None) -> Ended:
    """How a process ended, or that it, and what it had started, had to be killed after so many seconds.

    Args:
      began: what its seconds are counted from; None: from now.
    """
    began = time.monotonic() if began is None else began
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        for pid in (*children(process.pid), process.pid):
            os.kill(pid, signal.SIGKILL)
        out, err = process.communicate()
        err += f"\n(killed after {timeout} s)"
    return Ended(process.returncode, out, err, time.monotonic() - began)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are not gone."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def free_port() -> int:
    """Of the loopback interface."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path; links by where they point."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
