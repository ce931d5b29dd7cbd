"""What a trial does to the processes that it starts, beside sabotage: it watches them, and lets things go wrong.

A process writes what it is doing to the file that the environment names, one word a line, so that a trial can send a
signal at the right moment and count afterwards in which moment a process died.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

WATCH = "TRIAL_WATCH"  # file to write to
FAULT = "TRIAL_FAULT"  # name of a fault, and after a colon what it takes


class Watch:
    """The lines that watched processes wrote."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def environment(self) -> dict[str, str]:
        return {WATCH: str(self.path)}

    def lines(self) -> list[str]:
        """All whole lines so far."""
        return self.path.read_text().split("\n")[:-1] if self.path.exists() else []

    def wait_for(self, line: str, process, times: int = 1, timeout: float = 120) -> bool:
        """Waits until a line has been written so many times; False if the process ended first."""
        deadline = time.monotonic() + timeout
        while self.lines().count(line) < times:
            if process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True


def apply_faults() -> None:
    """Watches this process and breaks in it what the environment says."""
    if WATCH in os.environ:
        _watch(os.environ[WATCH])
    if FAULT in os.environ:
        name, _, argument = os.environ[FAULT].partition(":")
        FAULTS[name](argument)


def _watch(path: str) -> None:
    from eval import evaluate
    from train import step
    from train.runs import checkpoint

    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def say(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    def saying(owner, name: str, before: str, after: str = "") -> None:
        real = getattr(owner, name)

        def watched(*arguments, **options):
            say(before)
            result = real(*arguments, **options)
            if after:
                say(after)
            return result

        setattr(owner, name, watched)

    saying(checkpoint.Checkpoints, "_write", "save", "saved")
    saying(checkpoint.Checkpoints, "check", "update")
    saying(step, "predict_logits", "trace")  # what follows is compiled
    saying(evaluate, "predict_split", "predict")


def _no_network(_: str) -> None:
    import socket

    def refuse(*arguments, **options):
        raise OSError("there is no network in this trial")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.getaddrinfo = refuse


def _not_finite(argument: str) -> None:
    """`kind:what:steps`: the loss, or only its gradient, of the tasks of a kind is not finite at some of its batches.

    The batches are marked by a negative label, which no table has.
    """
    import jax.numpy as jnp

    from bert_jax.batches.batches import Batches
    from train.losses import LOSSES

    kind, what, steps = argument.split(":")
    chosen = {int(step) for step in steps.split(",")}
    real_loss, real_batch = LOSSES[kind], Batches.__getitem__

    def loss(logits, labels):
        marked = labels < 0
        fine = real_loss(logits, jnp.abs(labels))
        first = logits.reshape(len(labels), -1)[:, 0]
        slope = jnp.sqrt(jnp.where(marked, first * 0, 1.0))  # 0, with a gradient that is not
        bad = {"nan": jnp.nan, "inf": jnp.inf, "gradient": slope}[what]
        return fine + jnp.where(marked, bad, 0.0)

    def getitem(self, number):
        batch = real_batch(self, number)
        trains = len(self) > 12  # a dev split of the sample has no more batches
        return batch.replace(labels=-batch.labels - 1e-6) if trains and number in chosen else batch

    LOSSES[kind] = loss
    Batches.__getitem__ = getitem  # type: ignore[method-assign]


def _clock(offset: str) -> None:
    """The clock is wrong by so many seconds."""
    real = time.time
    time.time = lambda: real() + float(offset)


def _little_memory(megabytes: str) -> None:
    """So much more than the program has when JAX is there, and no more."""
    import resource

    import jax

    jax.devices()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit, hard = used + int(megabytes) * 2**20, resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or limit < hard:  # a program that starts itself again keeps its first limit
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _small_files(largest: str) -> None:
    """No file may grow beyond so many bytes."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))


def _plain_descent(learning_rate: str) -> None:
    """No fault: gradient descent in place of AdamW, which hides a gradient of the wrong size."""
    import optax

    from train import optim

    optim.make_optimizer = lambda *_, **__: optax.sgd(float(learning_rate))


FAULTS: dict[str, Callable[[str], None]] = {
    "no_network": _no_network,
    "not_finite": _not_finite,
    "plain_descent": _plain_descent,
    "clock": _clock,
    "little_memory": _little_memory,
    "small_files": _small_files,
}
