"""`python -m benchmarks.overhead`: what it costs a step that several devices, or several processes, run it.

A step that does next to nothing, on a state of as many arrays as BERT-base's with AdamW: it adds up one number over the
devices, as gradients are, and adds it to every array. So what is left to measure is dispatch. One device runs it by
`jit`, `pmap` and `shard_map`; then two processes of one device each run it by `shard_map` and `pmap`. Methods take
turns. A step of BERT-base itself says how much that is.
"""

import argparse
import dataclasses
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.machine import describe_machine
from benchmarks.texts import random_examples
from bert_jax.batches.batches import training_batches
from bert_jax.batches.packing import PackedBatch
from bert_jax.config import SIZES, BertConfig, ModelConfig
from bert_jax.heads import init_params
from bert_jax.tasks import TASKS
from train.devices.parallel import Method, Parallel, join_processes
from train.optim import make_optimizer
from train.step import TrainState, init_state, make_train_step, trained_parts

SST, LENGTH = TASKS["sst"], 26
TINY = {"hidden_size": 12, "intermediate_size": 12, "max_position_embeddings": 32, "vocab_size": 1200}


def next_to_nothing(state: TrainState, batch: PackedBatch, axis_name: str | None = None):
    """A train step as `make_train_step` makes them, without a model."""
    added = jnp.sum(jnp.asarray(batch.weights))
    added = added if axis_name is None else jax.lax.psum(added, axis_name)
    return jax.tree.map(lambda leaf: leaf + added.astype(leaf.dtype), state), {"loss": added}


class Steps:
    """Steps by one method, again and again on one batch."""

    def __init__(self, bert: BertConfig, parallel: Parallel, examples: int, whole: bool = False):
        """A state, and the step, compiled when it first runs; a whole one or next to nothing."""
        model = ModelConfig(bert)
        params, trained, tx = init_params(model, [SST], seed=0), trained_parts(model, SST), make_optimizer(1e-5)
        encoded = random_examples(SST, examples, bert.vocab_size, LENGTH)
        batches = training_batches(encoded, "sst", 0, examples, 1, parallel.count, LENGTH)
        self.batch = dataclasses.replace(batches, own=parallel.own)[0]
        self.step: Callable[..., Any] = parallel.compile_train_step(
            make_train_step(model, SST, tx, trained, 0) if whole else next_to_nothing
        )
        self.state = parallel.place(init_state(jax.tree.map(jnp.asarray, params), tx, trained))
        self.arrays = len(jax.tree.leaves(self.state))

    def seconds(self, count: int) -> float:
        """Of a step. As the loop does, each step's loss is read once the next one is under way."""
        jax.block_until_ready(self.state)
        before, start = None, time.perf_counter()
        for _ in range(count):
            self.state, metrics = self.step(self.state, self.batch)
            if before is not None:
                float(before)
            before = metrics["loss"]
        jax.block_until_ready(self.state)
        return (time.perf_counter() - start) / count


def take_turns(methods: list[Method], rounds: int, count: int) -> dict[str, list[float]]:
    """Milliseconds of a step of next to nothing by each method, `rounds` times `count` steps."""
    bert = dataclasses.replace(SIZES["bert-base"], **TINY)
    steps = {method: Steps(bert, Parallel(1, method), 8) for method in methods}
    for each in steps.values():
        each.seconds(3)
    found: dict[str, list[float]] = {method: [] for method in methods}
    for _ in range(rounds):
        for method, each in steps.items():
            found[method].append(1000 * each.seconds(count))
    return found


def in_processes(count: int, flags: argparse.Namespace) -> dict[str, list[float]]:
    """The same in so many new processes, of one device each."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.overhead", f"--rounds={flags.rounds}", f"--steps={flags.steps}"]
    workers = [
        subprocess.Popen(
            [*command, f"--of={count}", f"--port={port}", f"--process={number}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    said = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        sys.exit("error: a process failed; what it said stands above")
    return json.loads(said[0].splitlines()[-1])


def show(name: str, times: list[float], base: list[float], whole: float) -> str:
    """A line: a step in milliseconds, what it takes beyond another one, and how much that is of a whole step."""
    beyond = [a - b for a, b in zip(times, base, strict=True)]
    most = f"{statistics.median(beyond):7.2f} ({min(beyond):.2f} to {max(beyond):.2f})"
    share = f"{statistics.median(beyond) / whole:8.2%}" if beyond != [0.0] * len(beyond) else ""
    return f"{name:28} {statistics.median(times):7.2f} ({min(times):.2f} to {max(times):.2f})   {most:>26} {share}"


def main() -> None:
    """Measures and prints; as one of two processes, prints JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each method has its turn")
    parser.add_argument("--steps", type=int, default=50, help="steps of a turn")
    parser.add_argument("--model", default="bert-base", choices=SIZES, help="size of the whole step")
    for hidden in ("--of", "--port", "--process"):
        parser.add_argument(hidden, type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.of:
        methods: list[Method] = ["shard_map", "pmap"] if flags.of > 1 else ["jit", "pmap", "shard_map"]
        if flags.of > 1:
            join_processes(f"127.0.0.1:{flags.port}", flags.of, flags.process, 60)
        print(json.dumps(take_turns(methods, flags.rounds, flags.steps)))
        return
    machine = describe_machine()
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']}; jax {jax.__version__}", flush=True)
    whole = Steps(SIZES[flags.model], Parallel(1), 32, whole=True)
    whole.seconds(1)
    step = 1000 * statistics.median(whole.seconds(1) for _ in range(3))
    arrays = f"{whole.arrays} arrays, 32 texts of {LENGTH} tokens, float32"
    print(f"a step of {flags.model}, {arrays}: {step:.0f} ms", flush=True)
    del whole
    print(
        "a step of next to nothing on as many arrays: ms, then ms beyond the first method, and as a share of that step"
    )
    for count, where in ((1, "one process"), (2, "two processes")):
        found = in_processes(count, flags)
        first = next(iter(found.values()))
        for method, times in found.items():
            print(show(f"{where}, {method}", times, first, step), flush=True)


if __name__ == "__main__":
    main()
