"""`python -m benchmarks.checkpoints [--model=bert-base]`: what saving and checking a checkpoint costs.

Prints the seconds that training waits for a save, the seconds that the writing thread works behind it, and the time of
the manifest's check against that of only reading the files.
"""

import dataclasses
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import tyro

from bert_jax.config import SIZES, ModelConfig
from bert_jax.definition import find_tasks
from bert_jax.heads import init_params
from train.config import TrainConfig
from train.optim import make_optimizer
from train.runs.checkpoint import Checkpoints
from train.runs.manifest import verify
from train.step import init_state


@dataclasses.dataclass(frozen=True)
class Settings:
    """Saves a state some times into a folder of its own and checks it."""

    model: str = "bert-base"
    """Size of the encoder."""
    repeats: int = 5
    """How often each thing is measured."""
    folder: Path | None = None
    """Where to write. Default: a temporary folder."""


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def read_all(folder: Path) -> None:
    """Reads every file, a megabyte at a time."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(2**20):
                    pass


def _digits(rng: np.random.Generator, leaf: jax.Array) -> np.ndarray:
    return rng.standard_normal(leaf.shape, np.float32) if leaf.ndim else np.asarray(leaf)


def main(settings: Settings) -> None:
    """Measures and prints medians, with the smallest and the largest."""
    model, tasks = ModelConfig(SIZES[settings.model]), find_tasks(TrainConfig().tables.tasks)
    params = jax.tree.map(jax.numpy.asarray, init_params(model, tasks, seed=0))
    state = init_state(params, make_optimizer(1e-5), set(params))
    rng = np.random.default_rng(0)
    # Moments as they are after some updates: full of digits. Zeros would be compressed to nothing.
    state = state.replace(opt_state=jax.tree.map(lambda x: jax.numpy.asarray(_digits(rng, x)), state.opt_state))
    waits, writes, reads, checks = [], [], [], []
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        checkpoints = Checkpoints(Path(folder), "benchmark")
        for step in range(1, settings.repeats + 1):
            state = jax.block_until_ready(state.replace(step=jax.numpy.int32(step)))
            waits.append(seconds(lambda: checkpoints.save(state, {})))  # noqa: B023
            writes.append(seconds(checkpoints.wait))
            newest = Path(folder) / str(step)
            size = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file()) / 1e9
            reads.append(seconds(lambda: read_all(newest)))  # noqa: B023
            checks.append(seconds(lambda: verify(newest)))  # noqa: B023
        restores = [seconds(lambda: checkpoints.restore_latest(state)) for _ in range(settings.repeats)]
        checkpoints.close()

    def show(what: str, times: list[float]) -> None:
        print(f"{what:44} {statistics.median(times):6.2f} s   ({min(times):.2f} to {max(times):.2f})")

    print(f"{settings.model}, {size:.2f} GB a checkpoint; Python {platform.python_version()}, jax {jax.__version__}")
    show("training waits for a save", waits)
    show("the writing thread works behind it", writes)
    show("reading the files, from the cache", reads)
    show("checking them against the manifest", checks)
    show("restoring, check included", restores)
    minutes = TrainConfig().run.save_minutes
    worst = (statistics.median(waits) + statistics.median(writes)) / (60 * minutes)
    print(f"one save every {minutes:g} minutes: {worst:.2%} of the time, if the thread stopped training altogether")
    beyond = (statistics.median(checks) - statistics.median(reads)) / size
    print(f"the check costs {beyond:.2f} s a GB beyond reading")


if __name__ == "__main__":
    main(tyro.cli(Settings))
