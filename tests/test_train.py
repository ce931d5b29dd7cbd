"""Schedulers, optimizer, losses."""

from collections import Counter
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bert_jax.cli.interrupt import Interrupt
from train.loop import Counters, Intervals, fit
from train.losses import LOSSES
from train.optim import make_optimizer
from train.schedulers import SCHEDULERS, baseline, in_turn, mtdnn

BATCHES = {"sst": 2, "quora": 3, "sts": 1}


def test_in_turn_takes_all_batches_of_a_task_then_all_of_the_next():
    epoch = ["sst"] * 2 + ["quora"] * 3 + ["sts"]
    assert list(in_turn(BATCHES, 2, 0)) == epoch * 2


def test_mtdnn_takes_one_batch_of_every_task_for_as_many_rounds_as_the_largest_has_batches():
    assert list(mtdnn(BATCHES, 2, 0)) == ["sst", "quora", "sts"] * 3 * 2


def test_baseline_takes_the_first_task_alone():
    assert list(baseline(BATCHES, 3, 0)) == ["sst"] * 6


class OneLeaf(NamedTuple):
    """As much of a state as the loop looks at."""

    step: int
    params: None = None


class Names(list):
    """Batches that are names, of one example each."""

    def num_examples(self, number):
        return 1


class NoStore:
    """Checkpoints that are not kept."""

    def save(self, state, counters): ...

    def record_score(self, step, score): ...

    def check(self): ...


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_loop_resumes_at_every_step_of_a_schedule_by_skipping(name):
    """Every update takes the batch that it would have taken in an uninterrupted run."""
    schedule = list(SCHEDULERS[name](BATCHES, 4, 0))
    batches = {task: Names(f"{task} {number}" for number in range(schedule.count(task))) for task in BATCHES}

    def batches_from(done: int) -> list[str]:
        taken = []

        def step(state, batch):
            taken.append(batch)
            return OneLeaf(state.step + 1), {"loss": 0.0, "applied": True}

        fit(
            OneLeaf(done), Counters(), iter(schedule), dict.fromkeys(BATCHES, step), batches,  # type: ignore[arg-type]
            Intervals(epoch=len(schedule) // 4, total=len(schedule), log=10**9), evaluated=True,
            evaluate=lambda params: ({}, 0.0), checkpoints=NoStore(), log=lambda entry: None, interrupt=Interrupt(),
        )  # fmt: skip
        return taken

    full = batches_from(0)
    assert sorted(full) == sorted(batch for each in batches.values() for batch in each)  # each once, none twice
    for done in range(1, len(schedule)):
        assert batches_from(done) == full[done:]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_more_epochs_only_add_to_a_schedule(name):
    four = list(SCHEDULERS[name](BATCHES, 4, 0))
    assert list(SCHEDULERS[name](BATCHES, 8, 0)) == four + four


def test_upsampling_is_even():
    assert Counter(mtdnn(BATCHES, 2, 0)) == {"sst": 6, "quora": 6, "sts": 6}


def test_the_optimizer_passes_the_courses_optimizer_test():
    """CS224N's own check of AdamW: 1000 steps on a 2x3 matrix; start, inputs and result are the course's."""
    weight = jnp.array([[-0.00432252, 0.30971584, -0.47518533], [-0.4248946, -0.22236897, 0.15482073]])
    wanted = np.array([[0.5548279, 0.8666567, 0.0729198], [-0.4472451, -0.2951228, -0.2717272]])
    rng = np.random.default_rng(0)
    tx = make_optimizer(1e-3, weight_decay=1e-4)
    state = tx.init(weight)

    @jax.jit
    def update(weight, state, x):
        target = jnp.array([x[0] + x[1], -x[2]])
        gradient = jax.grad(lambda w: ((w @ x - target) ** 2).sum())(weight)
        updates, state = tx.update(gradient, state, weight)
        return optax.apply_updates(weight, updates), state

    for _ in range(1000):
        weight, state = update(weight, state, jnp.asarray(rng.uniform(size=3), jnp.float32))
    np.testing.assert_allclose(weight, wanted, atol=1e-5, rtol=0)


def test_weight_decay_spares_biases_and_scales():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    tx = make_optimizer(0.1, weight_decay=0.5)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    assert jax.tree.map(lambda x: x.round(6).ravel()[0].item(), updates) == {"kernel": pytest.approx(-0.05), "bias": 0}


def test_losses_are_per_example_and_what_their_names_say():
    logits = jnp.array([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(
        LOSSES["classification"](logits, jnp.array([0.0, 2.0])),
        [-np.log(np.exp(2) / np.exp([2, -1, 0.5]).sum()), np.log(3)],
        rtol=1e-6,
    )
    scores = jnp.array([1.5, -0.25])
    np.testing.assert_allclose(
        LOSSES["paraphrase"](scores, jnp.array([1.0, 0.0])),
        [np.log1p(np.exp(-1.5)), np.log1p(np.exp(-0.25))],
        rtol=1e-6,
    )
    np.testing.assert_allclose(LOSSES["similarity"](scores, jnp.array([4.0, 0.0])), [6.25, 0.0625], rtol=1e-6)


def test_saving_and_evaluating_are_no_updates_time(monkeypatch):
    now, told, lines = [0.0], [], []
    monkeypatch.setattr("train.loop.time.monotonic", lambda: now[0])

    def takes(seconds, result=None):
        now[0] += seconds
        return result

    class SlowStore(NoStore):
        def save(self, state, counters):
            takes(10)

    def step(state, batch):
        return takes(1, (OneLeaf(state.step + 1), {"loss": 0.0, "applied": True}))

    fit(
        OneLeaf(0), Counters(), iter(["sst"] * 6), {"sst": step}, {"sst": Names("abcdef")},  # type: ignore[arg-type]
        Intervals(epoch=2, total=6, log=1), evaluated=True, evaluate=lambda params: takes(100, ({}, 0.0)),  # type: ignore[arg-type]
        checkpoints=SlowStore(), log=lines.append, interrupt=Interrupt(),
        observe=lambda task, number, metrics, aside: told.append(aside),
    )  # fmt: skip
    assert told == [0, 0, 110, 0, 110, 0]
    assert sum(line["seconds"] for line in lines if "seconds" in line) == 6
