"""T16: a run of two processes, the same as one of one; and what is left of it when a process is lost."""

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.trials.devices import DESCENT, SMALL, compare, on_devices, read, train
from tests.trials.faults import FAULT
from tests.trials.harness import Ended, Outcome, Trial, children, free_port, start, wait

PROMISED_SECONDS = 30  # from a loss to the end of the other process
LOST = 7


@dataclasses.dataclass(frozen=True)
class Loss:
    """How a process is lost: which of the two, which of its programs, and by what signal."""

    process: int
    program: str
    signal: signal.Signals

    def __str__(self) -> str:
        return f"{self.signal.name} to the {self.program} of process {self.process}"


LOSSES = [
    Loss(process, program, number)
    for process in (0, 1)
    for program, number in (("worker", signal.SIGKILL), ("worker", signal.SIGSTOP), ("supervisor", signal.SIGKILL))
]


def start_two(folder: Path, updates: int, *flags: str) -> list[subprocess.Popen[str]]:
    """Starts both processes of a run, two devices each."""
    settings = (f"--run_dir={folder}", f"--max_steps={updates}", "--log_every=1", "--no-hugepages")
    found = (f"--coordinator=127.0.0.1:{free_port()}", "--num_processes=2")
    env = on_devices(2, folder.parent / "cache") | {FAULT: DESCENT}
    return [start("train.main", *SMALL, *settings, *found, f"--process_id={n}", *flags, env=env) for n in (0, 1)]


def finish(processes: Sequence[subprocess.Popen[str]], name: str, outcome: Outcome) -> bool:
    """Waits until both have ended; whether they ended well, and only the first spoke."""
    ended = [wait(process, 600) for process in processes]
    good = [outcome.check(each.code == 0, f"{name}, process {n}: {each}") for n, each in enumerate(ended)]
    return outcome.check(ended[1].out == "", f"{name}: process 1 printed {ended[1].out[:100]!r}") and all(good)


def two_processes(quick: bool, folder: Path) -> Outcome:
    """2 x 2 devices against 1 x 4, and then the same run with a process lost on the way, and started again."""
    outcome, updates = Outcome(), 20 if quick else 100
    one, two = folder / "one", folder / "two"
    if not train(one, updates, outcome, (*SMALL, "--devices=4")):
        return outcome
    if finish(start_two(two, updates), "two processes", outcome):
        compare("two processes", read(one), read(two), 1e-5, outcome)
    losses = [Loss(1, "supervisor", signal.SIGKILL)] if quick else LOSSES
    for number, loss in enumerate(losses if not outcome.failures else []):
        _lose(loss, folder / f"lost-{number}", updates, quick, outcome)
    outcome.require("told which process is lost", len(losses))
    outcome.require("resumed after update 0", len(losses))
    return outcome


def _lose(loss: Loss, run: Path, updates: int, quick: bool, outcome: Outcome) -> None:
    """Loses a process once something is saved; the other ends with a sentence, and the same commands go on."""
    outcome.n += 1
    flags = ("--save_every=5", *(("--process_timeout=6",) if quick else ()))
    processes = start_two(run, updates, *flags)
    lost, other = processes[loss.process], processes[1 - loss.process]
    deadline = time.monotonic() + 300
    while not (run / "checkpoints" / "5").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    victims = [lost.pid] if loss.program == "supervisor" else children(lost.pid)
    if not outcome.check(len(victims) == 1 and other.poll() is None, f"{loss}: there is nobody to lose"):
        for process in processes:
            wait(process, 0)
        return
    began = time.monotonic()
    os.kill(victims[0], loss.signal)
    ended = wait(other, 2 * PROMISED_SECONDS, began)
    slowest = "ms until the other ended, at the most"
    outcome.exposure[slowest] = max(outcome.exposure[slowest], round(1000 * ended.seconds))
    named = f"process {loss.process}" in _last(ended)
    good = ended.code == LOST and named and ended.seconds < PROMISED_SECONDS
    outcome.exposure["told which process is lost"] += good
    outcome.check(good, f"{loss}: the other: {ended}")
    if loss.signal == signal.SIGSTOP:
        os.kill(victims[0], signal.SIGCONT)
    own = wait(lost, PROMISED_SECONDS, began)
    outcome.check(own.code not in (0, None), f"{loss}: it went on: {own}")
    outcome.check(not children(lost.pid), f"{loss}: its worker is left")
    again = start_two(run, updates, *flags)
    if finish(again, f"{loss}, started again", outcome):
        compare(str(loss), read(run.with_name("two")), read(run), 1e-5, outcome)
        first = [line for line in (run / "metrics.jsonl").read_text().splitlines() if '"step": 1,' in line]
        outcome.exposure["resumed after update 0"] += len(first) == 1


def _last(ended: Ended) -> str:
    return (ended.err.strip().splitlines() or [""])[-1]


TRIALS = (
    Trial("T16", "two processes of two devices train as one of four does (1e-5); if one is killed or stopped the other "
          "ends within 30 s with code 7 and says which, and the same commands go on", two_processes,
          ("shares_of_the_first_process", "workers_outlive_their_supervisor"), seconds=100),
)  # fmt: skip
