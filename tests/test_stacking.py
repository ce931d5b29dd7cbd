"""A state with stacked layers: the same state, and the same updates bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.tasks import TASKS
from tests.builders import lively_params, packed, random_examples, tiny_model
from tests.test_run import assert_same_bytes, run_small
from train.devices.parallel import Parallel
from train.optim import make_optimizer
from train.runs.checkpoint import Checkpoints
from train.stacking import is_stacked, split_layers, stack_layers
from train.step import TrainState, init_state, make_predict_step, make_train_step, trained_parts

SST = TASKS["sst"]
MODEL = tiny_model()
PARTS = trained_parts(MODEL, SST)
TX = make_optimizer(1e-2, 0.1)


def first_state() -> TrainState:
    """With moments that are not all zero."""
    state = init_state(lively_params(MODEL), TX, PARTS)
    return state.replace(opt_state=jax.tree.map(lambda x: x + jnp.asarray(1e-3).astype(x.dtype), state.opt_state))


def test_what_is_stacked_is_split_into_what_it_was():
    state = first_state()
    stacked = stack_layers(state)
    assert is_stacked(stacked.params["bert"]) and len(jax.tree.leaves(stacked)) < len(jax.tree.leaves(state))
    assert_same_bytes(split_layers(stacked), state)
    assert_same_bytes(split_layers(state), state)


def test_vectors_stay_vectors_so_that_weight_decay_leaves_them_out():
    layers = stack_layers(first_state()).params["bert"]["layers"]
    assert layers["attention"]["qkv"]["kernel"].shape == (2, 16, 48)
    assert layers["attention"]["qkv"]["bias"].shape == (96,)
    assert layers["attention_norm"]["scale"].shape == (32,)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_updates_are_the_same_bit_for_bit(accumulate):
    step = jax.jit(make_train_step(MODEL, SST, TX, PARTS, 3, accumulate))
    batch = packed(random_examples(SST, 8), range(8), 32)
    if accumulate > 1:
        batch = jax.tree.map(lambda array: np.stack([array] * accumulate), batch)
    plain, stacked = first_state(), stack_layers(first_state())
    for _ in range(3):
        plain, metrics = step(plain, batch)
        stacked, of_stacked = step(stacked, batch)
        assert metrics["applied"] and metrics["loss"] == of_stacked["loss"]
    assert is_stacked(stacked.params["bert"]) and not is_stacked(plain.params["bert"])
    assert_same_bytes(split_layers(stacked), plain)


def test_predictions_are_the_same():
    predict = jax.jit(make_predict_step(MODEL, SST))
    batch, state = packed(random_examples(SST, 8), range(8), 32), first_state()
    np.testing.assert_array_equal(predict(stack_layers(state.params), batch), predict(state.params, batch))


@pytest.mark.parametrize("mode", ["finetune", "pretrain"])
def test_a_run_leaves_the_same_state_and_model(tmp_path, monkeypatch, mode):
    one, saved, save = run_small(tmp_path / "one", mode=mode), [], Checkpoints.save

    def note(self, state, counters):
        saved.append(is_stacked(state.params["bert"]))
        save(self, state, counters)

    monkeypatch.setattr(Checkpoints, "save", note)
    monkeypatch.setattr(Parallel, "_stacks", True)
    run_small(tmp_path / "two", mode=mode, max_steps=3)
    assert_same_bytes(run_small(tmp_path / "two", mode=mode), one)  # goes on from a checkpoint
    assert saved and all(saved)
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("model/*.safetensors")}
        for name in ("one", "two")
    ]
    assert files[0] == files[1] and bool(files[0]) == (mode == "pretrain")


def test_a_task_may_be_called_as_a_part_of_an_encoder_is():
    head = {"dense": {"kernel": np.ones((4, 2)), "bias": np.ones(2)}}
    params = lively_params(MODEL) | {"layers": head, "layer_0": head, "embeddings": head}
    assert_same_trees(split_layers(params), params)
    assert_same_trees(split_layers(stack_layers(params)), params)
    for heads in ({"embeddings": head, "layers": head}, {"embeddings": head, "layer_0": head}):
        assert_same_trees(stack_layers(heads), heads)
        assert_same_trees(split_layers(heads), heads)


def assert_same_trees(one, other) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_states_are_arranged_on_one_gpu_alone(monkeypatch):
    parallel, state = Parallel(1), first_state()
    assert parallel.arrange(state) is state
    monkeypatch.setattr(parallel, "platform", "gpu")
    arranged = parallel.arrange(state)
    assert is_stacked(arranged.params["bert"])
    assert_same_bytes(parallel.undo_arrange(arranged), state)
    several = Parallel(2)
    monkeypatch.setattr(several, "platform", "gpu")
    assert several.arrange(state) is state
