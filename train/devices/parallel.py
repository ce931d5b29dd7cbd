"""Devices and processes: the only file that knows how many there are and what runs on them.

A step is written once, for one device. One device runs it under `jax.jit`; several devices of one process run it under
`jax.pmap`, and those of several processes under `jit(shard_map)`, each on its share of the batch. Parameters and
optimizer state are the same on all of them and carry no device axis.
"""

import functools
import json
import os
import signal
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bert_jax.batches.packing import PackedBatch
from bert_jax.cli.interrupt import Interrupt
from bert_jax.errors import InputError, Interrupted
from bert_jax.heads import Params
from train.devices.supervisor import port_taken
from train.stacking import split_layers, stack_layers
from train.step import PredictStep, TrainState, TrainStep

Tree = TypeVar("Tree")
Method = Literal["jit", "pmap", "shard_map"]

AXIS = "devices"
# XLA tries many kernels for each product of a program before it runs on a GPU. Those of Triton take most of that time
# and gave 7 % at the best (docs/performance.md); those of cuBLAS are tried all the same. `jax.pmap` takes no options.
QUICK_SEARCH: dict[str, Any] = {"xla_gpu_enable_triton_gemm": False}
# jaxlib before 0.8.2 overwrites a donated state on a CPU before it has read all of it: other updates, and no word.
DONATED = (0,) if jax.__version_info__ >= (0, 8, 2) else ()
EVERYWHERE, CUT = PartitionSpec(), PartitionSpec(AXIS)


def join_processes(coordinator: str, count: int | None, number: int | None, timeout: int) -> None:
    """Makes this process one of several, before JAX has looked for devices.

    Args:
      coordinator: HOST:PORT where process 0 listens, or "auto": where the cluster says (Slurm, TPU, and so on).
      count: processes. number: which this is, from 0. Of a cluster None.
      timeout: seconds for all to come, and without a word from one until JAX ends the others (`supervisor.py`).

    Raises:
      InputError: there is no such cluster, or the port is taken.
    """
    is_auto, on_sigterm = coordinator == "auto", signal.getsignal(signal.SIGTERM)
    try:
        jax.distributed.initialize(
            None if is_auto else coordinator,
            count,
            number,
            # In a Slurm job JAX would give a process one device alone, even if it is told where the others are.
            cluster_detection_method=None if is_auto else "deactivate",
            initialization_timeout=timeout,
            heartbeat_timeout_seconds=timeout,
        )
    except ValueError as error:
        raise InputError(
            f"--coordinator=auto finds no cluster here ({error}); name HOST:PORT, --num_processes and --process_id"
        ) from None
    except jax.errors.JaxRuntimeError as error:
        if "Failed to start RPC server" in str(error):
            raise port_taken(coordinator) from None
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"--coordinator={coordinator}: {reason}") from None
    signal.signal(signal.SIGTERM, on_sigterm)  # which JAX's preemption service has taken from `interrupt.py`


class Parallel:
    """A set of devices. Compiles steps for them, and counts how often one was traced and compiled.

    method: what runs a step: jit (one device), pmap (several of one process) or shard_map (of several processes).
    devices: of all processes, those of a process side by side.
    own: the shares of a batch that this process packs, one a device, numbered over all processes.
    """

    def __init__(self, count: int | None = None, method: Method | None = None):
        """Takes the first `count` devices of each process, or all.

        Raises:
          InputError: there are not so many, or the method is not for them.
        """
        processes, local = jax.process_count(), jax.local_devices()
        if count is not None and not 1 <= count <= len(local):
            where = "" if processes == 1 else " here"
            there = "there is 1 device" if len(local) == 1 else f"there are {len(local)} devices"
            raise InputError(f"--devices={count}, but {there} of kind {local[0].platform}{where}")
        mine = local[:count]
        of = [[d for d in jax.devices() if d.process_index == process][:count] for process in range(processes)]
        self.devices = [device for devices in of for device in devices]
        before = sum(len(devices) for devices in of[: jax.process_index()])
        self.own = range(before, before + len(mine))
        self.processes = processes
        self.method: Method = method or ("shard_map" if processes > 1 else "pmap" if self.count > 1 else "jit")
        if self.method == "jit" and self.count > 1:
            raise InputError(f"--parallel=jit runs on one device, but there are {self.count}; add --devices=1")
        self.mesh = Mesh(np.array(self.devices), (AXIS,))
        self.compilations = 0
        self.platform = self.devices[0].platform
        self.options = QUICK_SEARCH if self.platform == "gpu" and not _names_options() else None

    @property
    def count(self) -> int:
        """Devices of all processes."""
        return len(self.devices)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files, and says what there is to say."""
        return self.own.start == 0

    def __str__(self) -> str:
        kind = self.devices[0].device_kind if self.platform != "cpu" else "cpu"
        of = f" of {self.processes} processes" if self.processes > 1 else ""
        return f"{self.count} x {kind}{of}, {self.method}"

    def compile_train_step(
        self, step: TrainStep, accumulate: int = 1
    ) -> Callable[[TrainState, PackedBatch], tuple[TrainState, dict]]:
        """(state, batch with this process's shares) -> (state, metrics). The state given is used up.

        Args:
          accumulate: shares that a device takes one after the other.
        """
        step = self._counted(step)
        if self.method == "jit":
            jitted = jax.jit(step, donate_argnums=DONATED, compiler_options=self.options)
            return lambda state, batch: jitted(state, _by_device(batch, accumulate, one=True))
        step = functools.partial(step, axis_name=AXIS)
        if self.method == "pmap":
            # Across processes pmap turns each array into another that shares its memory, which cannot be donated.
            donated = () if self.processes > 1 else DONATED
            mapped = jax.pmap(
                step, AXIS, in_axes=(None, 0), out_axes=None, devices=self.devices, donate_argnums=donated
            )  # type: ignore[arg-type]
            return lambda state, batch: mapped(state, _by_device(batch, accumulate))
        sharded = self._sharded(
            lambda state, batch: step(state, _only(batch)), (EVERYWHERE, CUT), donate_argnums=DONATED
        )
        return lambda state, batch: sharded(state, self._cut(_by_device(batch, accumulate)))

    def compile_predict_step(self, step: PredictStep) -> Callable[[Params, PackedBatch], np.ndarray]:
        """(parameters, batch with this process's shares) -> the outputs of all examples of all shares, in order."""
        step = self._counted(step)
        if self.method == "jit":
            jitted = jax.jit(step, compiler_options=self.options)
            return lambda params, batch: np.asarray(jitted(params, _by_device(batch, one=True)))[batch.weights[0] > 0]
        if self.processes == 1 and self.method == "pmap":
            mapped = jax.pmap(step, AXIS, in_axes=(None, 0), devices=self.devices)
            return lambda params, batch: np.asarray(mapped(params, batch))[batch.weights > 0]

        def everywhere(params: Params, batch: PackedBatch) -> Any:
            share = _only(batch)
            return jax.lax.all_gather((step(params, share), share.weights), AXIS)

        sharded = self._sharded(everywhere, (EVERYWHERE, CUT))

        def predict(params: Params, batch: PackedBatch) -> np.ndarray:
            outputs, weights = sharded(params, self._cut(batch))
            return np.asarray(outputs)[np.asarray(weights) > 0]

        return predict

    def place(self, tree: Tree) -> Tree:
        """The same arrays on every device: those of the first process, whatever others have."""
        if self.processes > 1:
            tree = multihost_utils.broadcast_one_to_all(tree)
        if self.method == "jit":
            return jax.tree.map(jax.numpy.asarray, tree)
        return jax.tree.map(lambda leaf: self._on_all(np.asarray(leaf), EVERYWHERE, np.shape(leaf)), tree)

    def arrange(self, tree: Tree) -> Tree:
        """A state, or parameters, as the compiled steps take them best: on one GPU with layers stacked, a copy."""
        return jax.jit(stack_layers)(tree) if self._stacks else tree

    def undo_arrange(self, tree: Tree) -> Tree:
        """What was given to `arrange`, of its result."""
        return jax.jit(split_layers)(tree) if self._stacks else tree

    @property
    def _stacks(self) -> bool:
        return self.method == "jit" and self.platform == "gpu"

    def from_first(self, value: Any) -> Any:
        """What the first process says, as JSON has it; waits until all processes have come here."""
        if self.processes == 1:
            return value
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
        said = multihost_utils.broadcast_one_to_all(np.resize(text, size))
        return json.loads(np.asarray(said, np.uint8).tobytes())

    def listen(self, interrupt: Interrupt) -> Interrupt:
        """Signals to any of the processes, of which all hear at the same `check`."""
        return interrupt if self.processes == 1 else SharedInterrupt(self, interrupt)

    def any(self, flag: bool) -> jax.Array:
        """Whether it is set in any process: [] float32, above 0 if so. Does not wait for the others."""
        return self._any(self._cut(np.full(len(self.own), flag, np.float32)))

    def temporary_bytes(self, step: TrainStep, state: TrainState, batch: PackedBatch, accumulate: int = 1) -> int:
        """Memory of one device that a step needs beside the state; compiles it, and runs nothing.

        Args:
          state: its shapes and types.
        """
        share = _by_device(jax.tree.map(lambda array: array[:accumulate], batch), accumulate, one=True)
        shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), share)
        state = jax.eval_shape(self.arrange, state)
        jitted = jax.jit(step, donate_argnums=DONATED, compiler_options=self.options)
        compiled = jitted.lower(state, shapes).compile()
        analysis = compiled.memory_analysis()
        return 0 if analysis is None else analysis.temp_size_in_bytes

    @functools.cached_property
    def _any(self) -> Callable[[jax.Array], jax.Array]:
        return self._sharded(lambda flag: jax.lax.psum(flag[0], AXIS), (CUT,))

    def _sharded(self, function: Callable, in_specs: tuple[PartitionSpec, ...], **options: Any) -> Callable:
        """A function of one device's share, on all; its results are the same on all, which is not checked."""
        mapped = jax.shard_map(function, mesh=self.mesh, in_specs=in_specs, out_specs=EVERYWHERE, check_vma=False)
        return jax.jit(mapped, compiler_options=self.options, **options)

    def _cut(self, tree: Any) -> Any:
        """This process's shares -> arrays of all processes, cut into a share for each device."""
        return jax.tree.map(lambda leaf: self._on_all(leaf, CUT), tree)

    def _on_all(self, array: Any, spec: PartitionSpec, shape: tuple[int, ...] | None = None) -> jax.Array:
        """An array of all processes, of what this one has of it; its shape is found if it is not said."""
        return jax.make_array_from_process_local_data(NamedSharding(self.mesh, spec), array, shape)

    def _counted(self, step: Callable) -> Callable:
        @functools.wraps(step)
        def traced(*args, **kwargs):
            self.compilations += 1  # runs when JAX traces, not when it executes
            return step(*args, **kwargs)

        return traced


class SharedInterrupt(Interrupt):
    """Signals to any of several processes. All call `check` equally often, and it raises in all at the same call.

    The processes add up their flags on their devices, behind the step that is under way, and look at the sum one call
    later: nobody waits.
    """

    def __init__(self, parallel: Parallel, own: Interrupt):
        super().__init__()
        self._parallel, self._own = parallel, own
        self._sum: jax.Array | None = None

    def check(self) -> None:
        """Raises Interrupted if a signal had come to any process at the call before."""
        before, self._sum = self._sum, self._parallel.any(self._own.signal_name is not None)
        if before is not None and float(before) > 0:
            self.signal_name = self._own.signal_name or "a signal to another process"
            raise Interrupted(f"{self.signal_name}; the same command starts again")


def _names_options() -> bool:
    """Whether XLA_FLAGS says how kernels are looked for; then that holds."""
    return any(word in os.environ.get("XLA_FLAGS", "") for word in ("triton_gemm", "autotune"))


def _by_device(batch: PackedBatch, accumulate: int = 1, one: bool = False) -> PackedBatch:
    """[shares, ...] -> [devices, ...], or [devices, accumulate, ...]; of one device without its axis."""

    def reshaped(array: Any) -> Any:
        by_device = array if accumulate == 1 else array.reshape(-1, accumulate, *array.shape[1:])
        return by_device[0] if one else by_device

    return jax.tree.map(reshaped, batch)


def _only(batch: PackedBatch) -> PackedBatch:
    return jax.tree.map(lambda array: array[0], batch)
