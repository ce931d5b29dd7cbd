"""Builds of the program that lack one guard. A trial that passes on such a build tries nothing.

Each function below takes one guard out by replacing a function of the program, in this process alone. They import what
they patch, so that a sabotage costs no other trial an import of JAX.
"""

import functools
import os
from collections.abc import Callable

import numpy as np

from tests.trials.harness import SABOTAGE
from tests.trials.sabotage_devices import DEVICES
from tests.trials.sabotage_reading import READING

SABOTAGES: dict[str, Callable[[], None]] = {function.__name__: function for function in (*READING, *DEVICES)}


def sabotage(function: Callable[[], None]) -> Callable[[], None]:
    """Registers a sabotage under its function's name."""
    SABOTAGES[function.__name__] = function
    return function


@sabotage
def order_ignores_the_epoch() -> None:
    from bert_jax.batches import order

    real = order.epoch_order
    order.epoch_order = functools.lru_cache(lambda size, seed, task, epoch: real(size, seed, task, 0))


@sabotage
def order_starts_anew_after_a_restart() -> None:
    """The orders come from one running generator, whose state nobody saves."""
    from bert_jax.batches import order

    rng = np.random.default_rng(0)
    order.epoch_order = functools.lru_cache(lambda size, seed, task, epoch: rng.permutation(size))


@sabotage
def small_last_batch_is_dropped() -> None:
    from bert_jax.batches import batches, order

    batches.batches_per_epoch = order.batches_per_epoch = lambda size, batch_size: max(1, size // batch_size)


@sabotage
def attention_crosses_texts() -> None:
    """Padding is still left out."""
    from bert_jax import modules

    real = modules.attention_bias
    modules.attention_bias = lambda segment_ids: real((segment_ids > 0).astype(int))


@sabotage
def positions_run_on_along_the_row() -> None:
    from bert_jax.batches import packing

    real = packing.pack

    def pack(*arguments) -> packing.PackedBatch:
        batch = real(*arguments)
        return batch.replace(position_ids=np.indices(batch.token_ids.shape, np.int32)[1])

    packing.pack = pack


@sabotage
def special_tokens_are_masked() -> None:
    from bert_jax.batches import masking

    real = masking.mask_vocabulary
    masking.mask_vocabulary = lambda vocab: real(vocab)._replace(special=np.array([], np.int32))


@sabotage
def masks_ignore_the_epoch() -> None:
    from bert_jax.batches import masking

    real = masking._text_states
    masking._text_states = lambda seed, epoch, texts: real(seed, 0, texts)


@sabotage
def masks_follow_the_batch() -> None:
    """A text's masks depend on its place in the batch, not on which text it is."""
    from bert_jax.batches import masking

    real = masking._text_states
    masking._text_states = lambda seed, epoch, texts: real(seed, epoch, np.arange(len(texts)))


@sabotage
def held_out_texts_compared_as_spelled() -> None:
    from bert_jax.batches import corpus

    corpus.normalize = lambda text: text


@sabotage
def optimizer_not_restored() -> None:
    from train.runs import checkpoint

    real = checkpoint.Checkpoints.restore_latest

    def restore_latest(self, like):
        found = real(self, like)
        return found and (found[0].replace(opt_state=like.opt_state), *found[1:])

    checkpoint.Checkpoints.restore_latest = restore_latest


@sabotage
def counters_not_restored() -> None:
    from train import loop, run

    run.Counters = lambda **counters: loop.Counters()  # type: ignore[assignment]


@sabotage
def signals_not_heard() -> None:
    from bert_jax.cli import interrupt

    interrupt.Interrupt.__enter__ = lambda self: self  # type: ignore[method-assign]


@sabotage
def evaluation_counts_as_done() -> None:
    from train.runs import checkpoint

    real = checkpoint.Checkpoints.restore_latest

    def restore_latest(self, like):
        found = real(self, like)
        return found and (*found[:2], True)

    checkpoint.Checkpoints.restore_latest = restore_latest


@sabotage
def dropout_from_the_clock() -> None:
    import time

    from train import step

    real = step.make_noise
    step.make_noise = lambda seed, *arguments: real(time.time_ns() % 2**32, *arguments)


@sabotage
def manifest_not_checked() -> None:
    from train.runs import checkpoint, manifest

    checkpoint.verify = manifest.read_manifest


@sabotage
def failed_writes_not_noticed() -> None:
    import contextlib

    from bert_jax.errors import StorageError
    from train.runs import checkpoint, log

    real = log.append

    def append(path, entry) -> None:
        with contextlib.suppress(StorageError):
            real(path, entry)

    checkpoint.Checkpoints.check = lambda self: None  # type: ignore[method-assign]
    log.append = append


@sabotage
def folder_not_checked() -> None:
    from train.runs import folder as rundir

    rundir._check_folder = lambda run: None


@sabotage
def undefined_is_the_best() -> None:
    from train.runs import checkpoint, manifest

    def score(self, step: int) -> float:
        found = manifest.read_manifest(self.directory / str(step))
        return np.inf if found.score is None and found.evaluated else -np.inf if found.score is None else found.score

    checkpoint.Checkpoints._score = score  # type: ignore[method-assign]


@sabotage
def best_not_kept() -> None:
    from train.runs import checkpoint

    checkpoint.Checkpoints._score = lambda self, step: -np.inf  # type: ignore[method-assign]


@sabotage
def newest_by_file_time() -> None:
    from train.runs import checkpoint

    real = checkpoint.Checkpoints.steps
    checkpoint.Checkpoints.steps = lambda self: sorted(  # type: ignore[method-assign]
        real(self), key=lambda step: (self.directory / str(step)).stat().st_mtime
    )


@sabotage
def settings_not_compared() -> None:
    from train.runs import folder as rundir

    rundir._check_same_run = lambda run, record: None


@sabotage
def lock_not_held() -> None:
    import contextlib

    from train.runs import folder as rundir

    rundir.locked = contextlib.nullcontext


@sabotage
def environment_in_the_record() -> None:
    from train.runs import record

    real = record._versions
    record._versions = lambda: real() | dict(os.environ)


@sabotage
def updates_not_checked() -> None:
    from train import step

    step.is_usable = lambda loss, gradients: np.True_


def apply_sabotage() -> None:
    """Takes out the guard that the environment names, if it names one."""
    name = os.environ.get(SABOTAGE)
    if name:
        SABOTAGES[name]()
