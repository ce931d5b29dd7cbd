"""Runs that trials interrupt: small ones on the embedded sample, and what is left of them to be compared."""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.trials.faults import Watch
from tests.trials.harness import PROGRAMS, Ended, environment, run, start

TEXTS = "The film is superb .\nA dull and lifeless story .\nIt is neither good nor bad .\n"
RUN = ("--epochs=2", "--save_every=2", "--log_every=7", "--tasks=sst,sts", "--batch_size=64")


@dataclasses.dataclass
class SmallRun:
    """A run of 60 updates, in a folder of its own, with what it compiles kept for the next.

    Args:
      flags: beside those of `RUN`.
    """

    folder: Path
    cache: Path
    flags: tuple[str, ...] = ()

    def __post_init__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.watch = Watch(self.folder / "watch")

    @property
    def path(self) -> Path:
        return self.folder / "run"

    @property
    def env(self) -> dict[str, str]:
        return compiling_once(self.cache, **self.watch.environment)

    def _flags(self) -> list[str]:
        return [*RUN, *self.flags, f"--run_dir={self.path}"]

    def start(self, **options):
        """Starts the command, or starts it again."""
        return start("train.main", *self._flags(), **{"env": self.env, **options})

    def finish(self, *more: str, **options) -> Ended:
        """Runs the command to its end."""
        return run("train.main", *self._flags(), *more, **{"env": self.env, **options})

    def predict(self, **options) -> Ended:
        """Predictions of the best checkpoint."""
        flags = (f"--run_dir={self.path}", "--task=sst")
        return run("eval.predict", *flags, stdin=TEXTS, **{"env": self.env, **options})

    def result(self) -> dict[str, str]:
        """What must be the same, bit for bit: the state, the log without its seconds, the predictions."""
        lines = [json.loads(line) for line in (self.path / "metrics.jsonl").read_text().splitlines()]
        timeless = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
        predicted = self.predict()
        return {
            "state": hash_state(self.path),
            "log": json.dumps(timeless),
            "predictions": (predicted.out or predicted.err).replace(str(self.path), "RUN"),
        }


def compiling_once(cache: Path, **more: str) -> dict[str, str]:
    """An environment in which programs that have been compiled, and compiled well, are taken from a folder."""
    return environment(
        XLA_FLAGS="",
        JAX_ENABLE_COMPILATION_CACHE="true",
        JAX_COMPILATION_CACHE_DIR=str(cache),
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
        JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES="none",  # else a program's key has the folder's path in it
        **more,
    )


def compile_programs(cache: Path) -> None:
    """Fills a folder with the programs of a small run, and with the others that it has after a restart.

    Whether the run ends well is for the trials to say.
    """
    with tempfile.TemporaryDirectory(prefix="trial-programs-") as folder:
        small = SmallRun(Path(folder), cache)
        small.finish("--max_steps=8")
        small.finish("--max_steps=16")


def copy_programs(folder: Path) -> None:
    """Puts the programs that were compiled for all trials, if they were, where a trial's small runs look for them.

    No two trials share a folder: a process that is killed while it writes a program leaves half of one. What a build
    without a guard compiles is another program, and has another name.
    """
    if PROGRAMS in os.environ:
        shutil.copytree(os.environ[PROGRAMS], folder / "cache")


def hash_state(run_dir: Path) -> str:
    """SHA-256 of the newest checkpoint's arrays, sorted by name."""
    import jax
    import numpy as np

    from bert_jax.heads import init_params
    from train.inputs import run_tasks
    from train.optim import make_optimizer
    from train.runs.checkpoint import Checkpoints
    from train.runs.folder import open_folder
    from train.step import init_state

    folder, config, model, _ = open_folder(run_dir)
    params = init_params(model, run_tasks(config), config.run.seed)
    checkpoints = Checkpoints(folder.checkpoints, folder.fingerprint)
    restored = checkpoints.restore_latest(init_state(params, make_optimizer(1.0), set(params)))
    checkpoints.close()
    assert restored is not None
    leaves = jax.tree_util.tree_flatten_with_path(restored[0])[0]
    digest = hashlib.sha256()
    for name, leaf in sorted((jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in leaves):
        digest.update(f"{name} {leaf.dtype} {leaf.shape}".encode() + leaf.tobytes())
    return digest.hexdigest()


def read_arrays(item: Path) -> dict[str, Any]:
    """The arrays of an item of a checkpoint, such as its `params`, by name."""
    import numpy as np
    import orbax.checkpoint as ocp

    def named(tree: Any, name: str) -> dict[str, Any]:
        if isinstance(tree, dict):
            return {path: leaf for key, inner in tree.items() for path, leaf in named(inner, f"{name}/{key}").items()}
        if isinstance(tree, list | tuple):
            return named(dict(enumerate(tree)), name)
        return {} if tree is None else {name: np.asarray(tree)}

    return named(ocp.StandardCheckpointer().restore(item.absolute()), item.name)


def differences(one: dict[str, str], other: dict[str, str]) -> str:
    """Which results differ, or nothing."""
    return ", ".join(name for name in one if one[name] != other[name])
