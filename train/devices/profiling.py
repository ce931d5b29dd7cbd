"""`--profile`: how fast a run's updates are, what share of the machine that is, and a trace of a few of them."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.batches.batches import Batches
from bert_jax.batches.masked import MaskedBatches
from bert_jax.config import BertConfig, Dtype
from bert_jax.flops import encoder_flops, masked_lm_flops

TIMED, TRACED = 20, 5  # updates
SIZE = 2048  # of the square product that the machine's speed is measured by


class Profile:
    """Times some updates, and then traces some more. It begins anew when a program is compiled between them."""

    def __init__(self, folder: Path, batches: Mapping[str, Batches], compilations: Callable[[], int], devices: int):
        """Of updates on so many devices.

        Args:
          folder: where the trace goes.
          compilations: says how many programs have been compiled until now.
        """
        self.folder, self.batches, self.compilations, self.devices = folder, batches, compilations, devices
        self.compiled = self.started = self.seconds = 0
        self.updates: list[tuple[str, int]] = []
        self.tracing = False

    def after_update(self, task: str, number: int, metrics: Mapping[str, Any], aside: float) -> None:
        """Takes note of an update that has been dispatched.

        Args:
          task, number, metrics: its task, the number of its batch, its metrics to come.
          aside: seconds since the update before that were no update's.
        """
        self.started += aside
        if len(self.updates) < TIMED and self.compilations() != self.compiled:
            jax.block_until_ready(metrics)
            self.compiled, self.started, self.updates = self.compilations(), time.perf_counter(), []
            return
        self.updates.append((task, number))
        if len(self.updates) == TIMED:
            jax.block_until_ready(metrics)
            self.seconds = time.perf_counter() - self.started
            jax.profiler.start_trace(str(self.folder), create_perfetto_trace=True)
            self.tracing = True
        elif len(self.updates) == TIMED + TRACED:
            jax.block_until_ready(metrics)
            self.close()

    def close(self) -> None:
        """Ends the trace, if it has begun and not ended."""
        if self.tracing:
            jax.profiler.stop_trace()
        self.tracing = False

    def report(self, bert: BertConfig, dtype: Dtype, trains_encoder: bool) -> str:
        """What was measured, for people.

        Args:
          trains_encoder: whether there was a gradient of the encoder, which costs twice what its outputs do.
        """
        if not self.seconds:
            return f"profile  nothing: it takes {TIMED + TRACED} updates, one after the other, without a new program"
        examples = tokens = computed = flops = 0
        for task, number in self.updates[:TIMED]:
            batches = self.batches[task]
            lengths = batches.encoded.lengths[batches.indices[number]]
            examples += len(lengths)
            tokens += int(lengths.sum())
            computed += batches.shares * batches.shapes[number].tokens
            flops += encoder_flops(bert, lengths, trains_encoder)
            if isinstance(batches, MaskedBatches):
                whole = dataclasses.replace(batches, own=None)  # other processes' shares too, as above
                flops += masked_lm_flops(bert, int(whole[number].weights.sum()))
        rate, ceiling = flops / self.seconds / 1e9, self.devices * fastest_product(dtype) / 1e9
        tasks = ", ".join(dict.fromkeys(task for task, _ in self.updates[:TIMED]))
        return (
            f"profile  {TIMED} updates of {tasks}: {1e3 * self.seconds / TIMED:.1f} ms each, "
            f"{examples / self.seconds:,.0f} examples/s, {tokens / self.seconds:,.0f} tokens/s, "
            f"{1 - tokens / computed:.0%} padding\n"
            f"         {rate:,.0f} GFLOP/s of the model's own arithmetic, {rate / ceiling:.0%} of the {ceiling:,.0f} "
            f"that a product of {SIZE} x {SIZE} in {dtype} reaches here\n"
            f"trace    {self.folder}: for TensorBoard; its perfetto_trace.json.gz for https://ui.perfetto.dev"
        )


def fastest_product(dtype: Dtype, rows: int = SIZE, inner: int = SIZE, columns: int = SIZE, repeats: int = 10) -> float:
    """Floating-point operations a second of [rows, inner] x [inner, columns] on one device, at its best.

    The result is float32, whatever the operands are.
    """
    keys, shapes = jax.random.split(jax.random.key(0)), ((rows, inner), (inner, columns))
    a, b = (jax.random.normal(key, shape, dtype) for key, shape in zip(keys, shapes, strict=True))
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=jnp.float32))
    multiply(a, b).block_until_ready()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        multiply(a, b).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * rows * inner * columns / min(seconds)
