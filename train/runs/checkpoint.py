"""Checkpoints: the only file that knows Orbax.

A checkpoint is a folder named after the number of updates done. Parameters, optimizer state and counters are separate
items, so that evaluation reads parameters alone. It is written under another name, with its manifest last, and then
renamed: what has the name of a step is whole, or has been damaged since.
"""

import concurrent.futures
import contextlib
import logging
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp

from bert_jax.config import ModelConfig
from bert_jax.errors import StorageError, WeightsError
from bert_jax.files import UNFINISHED, sync_folder
from bert_jax.heads import Params, init_params
from bert_jax.tasks import Task
from train.runs.manifest import Damaged, Manifest, hash_files, read_manifest, verify, write_manifest
from train.stacking import split_layers
from train.step import TrainState

logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax tells its story at every save, and again if one fails

KEPT = 2  # the newest; the best is kept beside them
DROPPED, DAMAGED = ".dropped", ".damaged"


class Checkpoints:
    """The checkpoints of a run. One thread writes them, in the order asked for, while training goes on.

    Args:
      run: the run's fingerprint; checkpoints of another are not restored.
    """

    def __init__(self, directory: Path, run: str):
        self.directory = directory.absolute()  # Orbax takes no other
        self.run = run
        # Floats hardly compress: without it a save takes a quarter of the time and 7 % more disk.
        # Of several processes only one is here, so Orbax must not wait for the others.
        me = jax.process_index()
        alone = ocp.options.MultiprocessingOptions(me, {me}, f"process{me}") if jax.process_count() > 1 else None
        options: dict[str, Any] = {"multiprocessing_options": alone} if alone else {}
        self._orbax = ocp.Checkpointer(
            ocp.CompositeCheckpointHandler(
                composite_options=ocp.CompositeOptions(**options),
                params=ocp.PyTreeCheckpointHandler(use_compression=False, **options),
                opt_state=ocp.PyTreeCheckpointHandler(use_compression=False, **options),
                counters=ocp.JsonCheckpointHandler(**options),
            ),
            **options,
        )
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        self._writing: list[concurrent.futures.Future[None]] = []

    def save(self, state: TrainState, counters: dict[str, Any]) -> None:
        """Begins to save a state under its step; one that is there already stays as it is.

        Waits for the save before it, so that there is never more than one copy of the state.

        Args:
          counters: what else carries over, as JSON has it.

        Raises:
          StorageError: an earlier save failed.
        """
        self.wait()
        step = int(state.step)
        if step in self.steps():
            return
        # A copy: the next update overwrites the buffers of this state.
        copy = jax.tree.map(lambda leaf: np.array(leaf), (state.params, state.opt_state))
        params, opt_state = split_layers(copy)
        self._begin(self._write, step, params, opt_state, counters)

    def record_score(self, step: int, score: float) -> None:
        """Begins to note the dev score of a saved state; NaN, where none is defined, is never the best."""
        self._begin(self._write_score, step, score)

    def check(self) -> None:
        """Raises StorageError if a save has failed."""
        done = [write for write in self._writing if write.done()]
        self._writing = [write for write in self._writing if not write.done()]
        for write in done:
            write.result()

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
          StorageError: something could not be.
        """
        concurrent.futures.wait(self._writing)
        self.check()

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, whole or damaged, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdecimal())

    def restore_latest(self, like: TrainState) -> tuple[TrainState, dict[str, Any], bool] | None:
        """The newest whole checkpoint, its counters, and whether it has been evaluated; None if there is none yet.

        Newer ones that are damaged are set aside under another name, with a word on stderr. What a killed process left
        half written or half deleted goes.

        Args:
          like: has the tree, shapes and types of the state.

        Raises:
          WeightsError: there are checkpoints and all are damaged, or they do not fit `like`.
        """
        found = self._first_whole(reversed(self.steps()))
        if found is None:
            self._clean_up()
            return None
        step, manifest, damaged = found
        restored = self._restore(manifest, {"params": like.params, "opt_state": like.opt_state})
        for bad, damage in damaged.items():
            aside = self.directory / f"{bad}{DAMAGED}"
            print(f"checkpoint {bad} is damaged ({damage}); going on from {step}; see {aside}", file=sys.stderr)
            self._remove(aside)
            (self.directory / str(bad)).rename(aside)
        self._clean_up()
        state = TrainState(jax.numpy.asarray(step, "int32"), restored["params"], restored["opt_state"])
        return state, restored["counters"], manifest.evaluated

    def restore_params(self, which: Literal["best", "latest"], like: Params) -> tuple[int, Params]:
        """Step and parameters of the best or the newest checkpoint; of the next one if that is damaged, which is said.

        The best has the highest score, the later of equals; where none has a score it is the newest.

        Raises:
          WeightsError: there is none, all are damaged, or it does not fit `like`.
        """
        scores = {step: -np.inf if which == "latest" else self._score(step) for step in self.steps()}
        found = self._first_whole(sorted(scores, key=lambda step: (scores[step], step), reverse=True))
        if found is None:
            raise WeightsError(f"{self.directory} has no checkpoint yet")
        step, manifest, damaged = found
        for bad, damage in damaged.items():
            print(f"checkpoint {bad} is damaged ({damage}); taking {step} in its place", file=sys.stderr)
        return step, self._restore(manifest, {"params": like})["params"]

    def close(self) -> None:
        """Waits for what is being written, and ends the thread.

        Raises:
          StorageError: something could not be written.
        """
        self._thread.shutdown()
        self.check()
        self._orbax.close()

    def _begin(self, write: Any, *arguments: Any) -> None:
        self._writing.append(self._thread.submit(self._or_storage_error, write, *arguments))

    def _or_storage_error(self, write: Any, step: int, *arguments: Any) -> None:
        try:
            write(step, *arguments)
        except (OSError, ValueError, RuntimeError, Damaged) as error:  # TensorStore says ValueError for a full disk
            self._remove(self.directory / f"{step}{UNFINISHED}")
            reason = str(error).strip().split("\n")[0]
            raise StorageError(f"{self.directory}/{step} cannot be written: {reason}") from None

    def _write(self, step: int, params: Params, opt_state: dict[str, Any], counters: dict[str, Any]) -> None:
        folder = self.directory / f"{step}{UNFINISHED}"
        self._remove(folder)
        self._check_room(sum(leaf.nbytes for leaf in jax.tree.leaves((params, opt_state))))
        items = ocp.args.Composite(
            params=ocp.args.PyTreeSave(params),
            opt_state=ocp.args.PyTreeSave(opt_state),
            counters=ocp.args.JsonSave(counters),
        )
        self._orbax.save(folder, args=items)
        leaves = describe_leaves({"params": params, "opt_state": opt_state})
        write_manifest(folder, Manifest(self.run, step, leaves, hash_files(folder, sync=True)))
        folder.rename(self.directory / str(step))
        sync_folder(self.directory)
        self._drop_old()

    def _check_room(self, needed: int) -> None:
        """Before Orbax begins, whose threads end in a page of tracebacks if the disk fills up below them."""
        self.directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.directory).free
        if free < 1.05 * needed:
            raise OSError(f"it takes {needed / 1e6:,.0f} MB, but the disk has {free / 1e6:,.0f} MB free")

    def _write_score(self, step: int, score: float) -> None:
        folder = self.directory / str(step)
        known = float(score) if np.isfinite(score) else None
        manifest = read_manifest(folder)
        write_manifest(folder, Manifest(**{**vars(manifest), "evaluated": True, "score": known}))
        self._drop_old()

    def _drop_old(self) -> None:
        """Deletes all but the newest and the best. A folder that is half deleted no longer has the name of a step."""
        steps = self.steps()
        best = max(steps, key=lambda step: (self._score(step), step))
        for step in steps[:-KEPT]:
            if step != best:
                dropped = (self.directory / str(step)).rename(self.directory / f"{step}{DROPPED}")
                self._remove(dropped)

    def _score(self, step: int) -> float:
        """For comparison: below every real score where it is not known or not defined."""
        try:
            score = read_manifest(self.directory / str(step)).score
        except Damaged:
            return -np.inf
        return -np.inf if score is None else score

    def _first_whole(self, steps: Iterable[int]) -> tuple[int, Manifest, dict[int, Damaged]] | None:
        """The first of some checkpoints that is whole, its manifest, and those before it; None if there are none.

        Raises:
          WeightsError: there are some, and all are damaged.
        """
        damaged: dict[int, Damaged] = {}
        for step in steps:
            try:
                return step, verify(self.directory / str(step)), damaged
            except Damaged as damage:
                damaged[step] = damage
        if damaged:
            which = ", ".join(f"{step} ({damage})" for step, damage in damaged.items())
            raise WeightsError(f"{self.directory}: every checkpoint is damaged: {which}; nothing was deleted")
        return None

    def _restore(self, manifest: Manifest, like: dict[str, Any]) -> dict[str, Any]:
        place = f"{self.directory}/{manifest.step}"
        if manifest.run != self.run:
            raise WeightsError(f"{place} belongs to another run than the config.json of its folder")
        wanted = describe_leaves(like)
        saved = {name: leaf for name, leaf in manifest.leaves.items() if name.split("/")[0] in like}
        names = [name for name in sorted({*wanted, *saved}) if wanted.get(name) != saved.get(name)]
        if names:
            diff = [
                f"{name}: {saved.get(name, 'nothing')} saved, {wanted.get(name, 'nothing')} wanted"
                for name in names[:3]
            ]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise WeightsError(f"{place} does not fit the model; {'; '.join(diff)}{more}")
        items = {name: _restore_args(tree) for name, tree in like.items()}
        try:
            restored = self._orbax.restore(
                self.directory / str(manifest.step), args=ocp.args.Composite(counters=ocp.args.JsonRestore(), **items)
            )
        except (ValueError, KeyError, OSError, TypeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise WeightsError(f"{place} cannot be restored: {reason}") from None
        return {"counters": restored.counters} | {name: restored[name] for name in like}

    def _clean_up(self) -> None:
        """Deletes what a killed process left behind."""
        for path in self.directory.glob("*") if self.directory.is_dir() else ():
            if UNFINISHED in path.name or path.name.endswith(DROPPED):
                self._remove(path)

    @staticmethod
    def _remove(path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)


def restore_params(
    directory: Path, run: str, model: ModelConfig, tasks: Sequence[Task], which: Literal["best", "latest"]
) -> tuple[int, Params]:
    """A run's parameters and the number of updates that made them.

    Raises:
      WeightsError: the run has no checkpoint, or it cannot be restored.
    """
    with contextlib.closing(Checkpoints(directory, run)) as checkpoints:
        return checkpoints.restore_params(which, like=init_params(model, tasks, seed=None))


def describe_leaves(tree: Any) -> dict[str, str]:
    """Type and shape of each array by its path, such as {"params/bert/x": "float32[2, 3]"}."""
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(p, simple=True, separator="/"): f"{x.dtype}{list(x.shape)}" for p, x in found}


def _restore_args(tree: Any) -> ocp.args.PyTreeRestore:
    """Onto one device, as arrays of JAX."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)
    return ocp.args.PyTreeRestore(abstract, restore_args=ocp.checkpoint_utils.construct_restore_args(abstract))
