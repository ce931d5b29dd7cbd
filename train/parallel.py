"""Devices: the only file that knows how many there are and what runs on them.

A step is written once, for one device. One device runs it under `jax.jit`; several run it under `jax.pmap`, each on
its share of the batch. Parameters and optimizer state are the same on all of them and carry no device axis.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np

from bert_jax.errors import InputError
from bert_jax.heads import Params
from bert_jax.packing import PackedBatch
from train.step import PredictStep, TrainState, TrainStep

AXIS = "devices"


class Parallel:
    """A set of devices. Compiles steps for them, and counts how often one was traced and compiled."""

    def __init__(self, count: int | None = None):
        """Takes the first `count` devices, or all.

        Raises:
          InputError: there are not so many, or other processes have devices too.
        """
        if jax.process_count() > 1:
            raise InputError(f"there are {jax.process_count()} JAX processes, but a run has one")
        devices = jax.local_devices()
        if count is not None and not 1 <= count <= len(devices):
            raise InputError(f"--devices={count}, but there are {len(devices)} devices of kind {devices[0].platform}")
        self.devices = devices[:count]
        self.compilations = 0

    @property
    def count(self) -> int:
        return len(self.devices)

    def __str__(self) -> str:
        kind = self.devices[0].device_kind if self.devices[0].platform != "cpu" else "cpu"
        return f"{self.count} x {kind}, {'jit' if self.count == 1 else 'pmap'}"

    def compile_train_step(self, step: TrainStep) -> Callable[[TrainState, PackedBatch], tuple[TrainState, dict]]:
        """(state, batch with one share a device) -> (state, metrics). The state given is used up."""
        if self.count == 1:
            jitted = jax.jit(self._counted(step), donate_argnums=0)
            return lambda state, batch: jitted(state, _only_share(batch))
        step = functools.partial(self._counted(step), axis_name=AXIS)
        return jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=None, devices=self.devices, donate_argnums=0)  # type: ignore[arg-type]

    def compile_predict_step(self, step: PredictStep) -> Callable[[Params, PackedBatch], np.ndarray]:
        """(parameters, batch with one share a device) -> outputs [all slots, ...] as a NumPy array."""
        if self.count == 1:
            jitted = jax.jit(self._counted(step))
            return lambda params, batch: np.asarray(jitted(params, _only_share(batch)))
        mapped = jax.pmap(self._counted(step), AXIS, in_axes=(None, 0), devices=self.devices)
        return lambda params, batch: np.concatenate(np.asarray(mapped(params, batch)))

    def temporary_bytes(self, step: TrainStep, state: TrainState, batch: PackedBatch) -> int:
        """Memory of one device that a step needs beside the state; compiles it, and runs nothing.

        Args:
          state: its shapes and types.
        """
        shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), _only_share(batch))
        compiled = jax.jit(step, donate_argnums=0).lower(state, shapes).compile()
        analysis = compiled.memory_analysis()
        return 0 if analysis is None else analysis.temp_size_in_bytes

    def _counted(self, step: Callable) -> Callable:
        @functools.wraps(step)
        def traced(*args, **kwargs):
            self.compilations += 1  # runs when JAX traces, not when it executes
            return step(*args, **kwargs)

        return traced


def _only_share(batch: PackedBatch) -> PackedBatch:
    return jax.tree.map(lambda array: array[0], batch)
