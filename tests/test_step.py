"""Properties of one update: what moves, what does not, and what does not matter."""

import dataclasses
import re

import jax
import numpy as np
import optax
import pytest

from bert_jax.batches.packing import BatchShape, PackedBatch, pack
from bert_jax.config import ModelConfig
from bert_jax.heads import predict_logits
from bert_jax.tasks import TASKS
from tests.builders import THREE, TINY, lively_params, moved_parts, packed, padded, random_examples, tiny_model
from train.devices.parallel import DONATED, Parallel
from train.optim import make_optimizer
from train.step import TrainState, init_state, make_train_step, trained_parts

SGD = optax.sgd(1.0)


def gradient_and_loss(model, task, batch, seed=3):
    """One SGD update of rate 1: the loss, and what was subtracted from the parameters."""
    params = lively_params(model, (task,))
    trained = trained_parts(model, task)
    state, metrics = jax.jit(make_train_step(model, task, SGD, trained, seed))(init_state(params, SGD, trained), batch)
    return jax.tree.map(lambda a, b: np.asarray(a - b), params, state.params), float(metrics["loss"])


def assert_trees_close(ours, theirs, atol):
    for (path, a), b in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol, rtol=0, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("task", THREE, ids=lambda task: task.name)
def test_a_packed_batch_and_a_padded_one_give_the_same_loss_and_gradients_with_dropout_on(task, pooling):
    model, encoded = tiny_model(pooling=pooling), random_examples(task, 12)
    indices = [7, 2, 11, 0, 5]
    tight, loose = packed(encoded, indices, length=40), padded(encoded, indices, length=24)
    assert tight.token_ids.size < loose.token_ids.size
    grads_tight, loss_tight = gradient_and_loss(model, task, tight)
    grads_loose, loss_loose = gradient_and_loss(model, task, loose)
    assert loss_tight == pytest.approx(loss_loose, abs=1e-5)
    assert_trees_close(grads_tight, grads_loose, atol=1e-5)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(grads_tight)) > 1e-2


def test_dropout_is_on_while_training():
    task, model = TASKS["sst"], tiny_model()
    batch = packed(random_examples(task, 6), range(6), 40)
    assert gradient_and_loss(model, task, batch, seed=3)[1] != gradient_and_loss(model, task, batch, seed=4)[1]


def test_slots_without_an_example_do_not_matter():
    task, model = TASKS["quora"], tiny_model()
    encoded = random_examples(task, 12)
    full, loss_full = gradient_and_loss(model, task, packed(encoded, [3, 1, 8], 40))
    roomy, loss_roomy = gradient_and_loss(model, task, packed(encoded, [3, 1, 8], 40, slots=7))
    assert loss_full == pytest.approx(loss_roomy, abs=1e-6)
    assert_trees_close(full, roomy, atol=1e-6)


def test_a_text_gets_nothing_from_its_neighbours_or_from_padding():
    """The gradient of one example's logits is exactly zero at every token that is not its own."""
    task, model = TASKS["sst"], tiny_model()
    batch = packed(random_examples(task, 6), range(6), 64)
    params = lively_params(model)
    table = params["bert"]["embeddings"]["word"]["embedding"]
    spread = np.arange(batch.token_ids.size, dtype=np.int32).reshape(batch.token_ids.shape)  # one row a token
    rows = table[np.asarray(batch.token_ids).reshape(-1)]

    def logits_of_first(rows):
        bert = {**params["bert"], "embeddings": {**params["bert"]["embeddings"], "word": {"embedding": rows}}}
        wide = ModelConfig(bert=dataclasses.replace(TINY, vocab_size=rows.shape[0]))
        return predict_logits(wide, task, {**params, "bert": bert}, batch.replace(token_ids=spread))[0].sum()

    gradient = np.abs(np.asarray(jax.grad(logits_of_first)(rows))).sum(-1).reshape(batch.token_ids.shape)
    own = np.asarray(batch.segment_ids) == 1
    assert own.any() and (gradient[own] > 0).all()
    assert (gradient[~own] == 0).all()


def test_logits_do_not_depend_on_neighbours():
    task, model = TASKS["sst"], tiny_model()
    encoded, params = random_examples(task, 9), lively_params(model)
    alone = predict_logits(model, task, params, padded(encoded, [4], 24))[0]
    together = predict_logits(model, task, params, packed(encoded, range(9), 64))[4]
    np.testing.assert_allclose(alone, together, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_idle_parts_and_their_optimizer_state_do_not_move(pooling):
    """Weight decay and momentum would move a head that only has zero gradients; ours is not touched at all."""
    model, tx = tiny_model(pooling=pooling), make_optimizer(1e-2, weight_decay=0.1)
    params = lively_params(model)
    steps = {t: jax.jit(make_train_step(model, t, tx, trained_parts(model, t), 0)) for t in THREE}
    state = init_state(params, tx, set(params))
    for task in THREE:  # every head has momentum
        state, _ = steps[task](state, packed(random_examples(task, 4), range(4), 40))
    after, _ = steps[TASKS["sst"]](state, packed(random_examples(TASKS["sst"], 4), range(4), 40))
    assert moved_parts(state, after) == {"bert", "sst"} | ({"pooler"} if pooling == "cls" else set())


def test_heads_only_leaves_the_encoder_alone():
    model, tx, task = tiny_model(), make_optimizer(1e-2), TASKS["quora"]
    params, trained = lively_params(model), trained_parts(tiny_model(), TASKS["quora"], frozen={"bert", "pooler"})
    batch = packed(random_examples(task, 4), range(4), 40)
    state, _ = jax.jit(make_train_step(model, task, tx, trained, 0))(init_state(params, tx, trained), batch)
    assert trained == ("quora",) and set(state.opt_state) == {"quora"}
    for part in params:
        same = all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(
            jax.tree.leaves(params[part]), jax.tree.leaves(state.params[part]), strict=True))  # fmt: skip
        assert same == (part != "quora")


def test_a_second_batch_of_a_shape_does_not_retrace():
    model, tx, task = tiny_model(), make_optimizer(1e-3), TASKS["sst"]
    parallel, trained = Parallel(1), trained_parts(tiny_model(), TASKS["sst"])
    step = parallel.compile_train_step(make_train_step(model, task, tx, trained, 0))
    state = init_state(lively_params(model), tx, trained)
    encoded = random_examples(task, 16)
    for indices in ([0, 1, 2, 3], [9, 4, 7, 5], [8, 10, 1, 2]):
        state, _ = step(state, share_out(encoded, indices, shares=1))
    assert parallel.compilations == 1


def share_out(encoded, indices, shares) -> PackedBatch:
    slots = -(-len(indices) // shares)
    parts = [packed_in(encoded, indices[i * slots : (i + 1) * slots], slots) for i in range(shares)]
    return jax.tree.map(lambda *arrays: np.stack(arrays), *parts)


def packed_in(encoded, indices, slots) -> PackedBatch:
    return pack(encoded, np.asarray(indices, np.int64), BatchShape(8, 40), slots)


@pytest.mark.parametrize("examples", [8, 6], ids=["even", "ragged"])
@pytest.mark.parametrize("task", THREE, ids=lambda task: task.name)
def test_four_devices_equal_one_with_sgd_and_dropout_on(task, examples):
    model, encoded, tx = tiny_model(), random_examples(task, 20), optax.sgd(0.1)
    trained = trained_parts(model, task)
    params = lively_params(model)
    results = []
    for devices in (1, 4):
        parallel = Parallel(devices)
        step = parallel.compile_train_step(make_train_step(model, task, tx, trained, 5))
        state = init_state(jax.tree.map(np.array, params), tx, trained)
        losses = []
        for start in range(0, 12, 4):
            state, metrics = step(state, share_out(encoded, list(range(start, start + examples)), devices))
            losses.append(float(metrics["loss"]))
        results.append((state, losses))
    (one, losses_one), (four, losses_four) = results
    np.testing.assert_allclose(losses_one, losses_four, atol=1e-5, rtol=0)
    assert isinstance(four, TrainState) and int(four.step) == 3
    assert_trees_close(one.params, four.params, atol=1e-5)


def adam_step():
    """A task's step by AdamW, a state, and a batch for it; another one whose loss is not finite."""
    task, model, tx = TASKS["sst"], tiny_model(), make_optimizer(1e-3, 0.01)
    trained = trained_parts(model, task)
    batch = packed(random_examples(task, 6), range(6), 40)
    spoilt = batch.replace(weights=np.where(batch.weights > 0, np.float32(np.nan), batch.weights))
    return (
        make_train_step(model, task, tx, trained, 0),
        init_state(lively_params(model, (task,)), tx, trained),
        batch,
        spoilt,
    )


def test_a_cpu_and_a_gpu_choose_the_same_update_in_their_own_ways(monkeypatch):
    found = {}
    for backend in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        step, state, *batches = adam_step()
        assert ("cond[" in str(jax.make_jaxpr(step)(state, batches[0]))) == (backend == "cpu")
        found[backend] = [jax.jit(step)(state, batch) for batch in batches]
        updated, skipped = (new for new, _ in found[backend])
        assert moved_parts(state, updated) == {"bert", "pooler", "sst"} and not moved_parts(state, skipped)
    for ours, theirs in zip(found["cpu"], found["gpu"], strict=True):
        assert_trees_close(ours[0], theirs[0], atol=1e-7)


@pytest.mark.skipif(not DONATED, reason="this version of XLA is given no state to overwrite")
def test_an_update_on_a_cpu_copies_no_array_before_it_overwrites_it():
    step, state, batch, _ = adam_step()
    compiled = jax.jit(step, donate_argnums=DONATED).lower(state, batch).compile().as_text()
    kernel = state.params["bert"]["layer_0"]["feed_forward"]["intermediate"]["kernel"]
    shape = f"f32[{kernel.shape[0]},{kernel.shape[1]}]"
    assert compiled and shape in compiled and not re.findall(rf"= {re.escape(shape)}\S* copy\(", compiled)
