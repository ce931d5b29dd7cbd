"""Checkpoints: the only file that knows Orbax.

Parameters, optimizer state and counters are separate items, so that evaluation reads parameters alone. The newest two
checkpoints and the best one are kept.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from bert_jax.config import ModelConfig
from bert_jax.errors import StorageError, WeightsError
from bert_jax.heads import Params, init_params
from bert_jax.tasks import Task
from train.step import TrainState

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns of every manager that only reads


class Checkpoints:
    """The checkpoints of a run, by number of updates done."""

    def __init__(self, directory: Path, read_only: bool = False):
        best = preservation_policy.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation_policy.AnyPreservationPolicy([preservation_policy.LatestN(2), best]),
            best_fn=_score,
            enable_async_checkpointing=False,  # the next update overwrites the buffers that would still be written
            read_only=read_only,
            create=not read_only,
        )
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def save(self, state: TrainState, score: float | None = None) -> None:
        """Saves a state under its step.

        Args:
          score: mean of the trained tasks' dev metrics; None or NaN if there is none, which is never the best.

        Raises:
          StorageError: it cannot be written.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        known = score is not None and score == score
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            opt_state=ocp.args.StandardSave(state.opt_state),
            counters=ocp.args.JsonSave({"step": step}),
        )
        try:
            self._manager.save(step, args=items, metrics={"score": float(score)} if known else None)  # type: ignore[arg-type]
        except (OSError, ValueError) as error:  # TensorStore says ValueError where the disk is full
            reason = str(error).strip().split("\n")[0]
            raise StorageError(f"{self._manager.directory}/{step} cannot be written: {reason}") from None

    def latest_step(self) -> int | None:
        """Updates done in the newest checkpoint, or None if there is none."""
        return max(self._manager.all_steps(), default=None)

    def best_step(self) -> int | None:
        """The step with the best score, the later of equals; the newest where none has a score."""
        try:
            scores = {step: (self._manager.metrics(step) or {}).get("score") for step in self._manager.all_steps()}
        except (ValueError, OSError, AttributeError) as error:
            raise WeightsError(f"{self._manager.directory} has a checkpoint with unreadable metrics: {error}") from None
        scored = [(score, step) for step, score in scores.items() if score is not None]
        return max(scored)[1] if scored else self.latest_step()

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state saved at a step.

        Args:
          like: a state of the same tree, shapes and types.
        """
        items = ocp.args.Composite(
            params=ocp.args.StandardRestore(_abstract(like.params)),
            opt_state=ocp.args.StandardRestore(_abstract(like.opt_state)),
        )
        restored = self._restore(step, items)
        return TrainState(jax.numpy.asarray(step, "int32"), restored.params, restored.opt_state)

    def restore_params(self, step: int, like: Params) -> Params:
        """The parameters saved at a step; `like` has their tree, shapes and types."""
        return self._restore(step, ocp.args.Composite(params=ocp.args.StandardRestore(_abstract(like)))).params

    def _restore(self, step: int, items: Any) -> Any:
        try:
            return self._manager.restore(step, args=items)
        except (ValueError, KeyError, OSError, TypeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise WeightsError(f"{self._manager.directory}/{step} cannot be restored: {reason}") from None

    def close(self) -> None:
        self._manager.close()


def restore_params(
    directory: Path, model: ModelConfig, tasks: Sequence[Task], which: Literal["best", "latest"]
) -> tuple[int, Params]:
    """A run's parameters and the number of updates that made them.

    Raises:
      WeightsError: the run has no checkpoint, or it cannot be restored.
    """
    if not directory.is_dir():
        raise WeightsError(f"{directory} has no checkpoint yet")
    checkpoints = Checkpoints(directory, read_only=True)
    step = checkpoints.best_step() if which == "best" else checkpoints.latest_step()
    if step is None:
        raise WeightsError(f"{directory} has no checkpoint yet")
    params = checkpoints.restore_params(step, like=init_params(model, tasks, seed=0))
    checkpoints.close()
    return step, params


def _score(metrics: Any) -> float:
    return metrics["score"]


def _abstract(tree: Any) -> Any:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)
