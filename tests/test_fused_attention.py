"""Attention in one kernel, run by Pallas's interpreter: what the layers spell out, in values, gradients and dropout."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from bert_jax import modules
from bert_jax.attention import attention_weights
from bert_jax.batches.batches import training_batches
from bert_jax.batches.packing import PackedBatch
from bert_jax.config import Dtype
from bert_jax.kernels import backend, fused_attention, linear
from bert_jax.modules import SelfAttention
from bert_jax.tasks import TASKS
from tests.builders import TINY, lively_params, packed, random_examples, tiny_model
from tests.test_step import assert_trees_close
from train.devices.parallel import Method, Parallel
from train.step import init_state, make_train_step, trained_parts

QUORA = TASKS["quora"]
ENCODED = random_examples(QUORA, 12)


FITS_KERNEL = modules.fits_kernel


class Switch:
    """Turns the kernel on and off. What was traced before is forgotten: layers are traced once a process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.monkeypatch, self.asked = monkeypatch, 0

    def on(self) -> None:
        """Whoever asks is told that the kernel fits."""

        def fits(*_sizes) -> bool:
            self.asked += 1
            return True

        jax.clear_caches()
        self.monkeypatch.setattr(modules, "fits_kernel", fits)

    def off(self) -> None:
        """As it is on a CPU. Somebody must have asked before."""
        assert self.asked
        jax.clear_caches()
        self.monkeypatch.setattr(modules, "fits_kernel", FITS_KERNEL)


@pytest.fixture
def fused(monkeypatch):
    switch = Switch(monkeypatch)
    switch.on()
    yield switch
    jax.clear_caches()


def update(batch: PackedBatch, rate: float, dtype: Dtype = "float32", scale: float = 8.0):
    """Loss and parameters after one update by plain gradient descent."""
    bert = dataclasses.replace(TINY, attention_probs_dropout_prob=rate)
    model = tiny_model(dtype=dtype)
    model = dataclasses.replace(model, bert=bert)
    parts, tx = trained_parts(model, QUORA), optax.sgd(1.0)
    step = jax.jit(make_train_step(model, QUORA, tx, parts, seed=3))
    state, metrics = step(init_state(lively_params(model, scale=scale), tx, parts), batch)
    return float(metrics["loss"]), state.params


@pytest.mark.parametrize("length", [23, 32, 61])
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_an_update_is_that_of_the_attention_that_is_spelt_out(fused, rate, length):
    batch = packed(ENCODED, range(12), length)
    loss, params = update(batch, rate)
    fused.off()
    expected_loss, expected = update(batch, rate)
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    assert_trees_close(params, expected, atol=2e-5)


def test_in_bfloat16_an_update_differs_by_its_roundings_alone(fused, monkeypatch):
    batch = packed(ENCODED, range(12), 32)
    monkeypatch.setattr(linear, "rounds_operands", lambda: False)  # values are of type bfloat16, as on a GPU
    before, seen, real = lively_params(tiny_model(), scale=2.0), [], fused_attention.attend
    monkeypatch.setattr(fused_attention, "attend", lambda qkv, *more: seen.append(qkv.dtype) or real(qkv, *more))

    def gradient() -> np.ndarray:
        after = update(batch, 0.1, "bfloat16", scale=2.0)[1]
        moved = jax.tree.map(lambda a, b: np.asarray(a - b).ravel(), before, {p: after[p] for p in before})
        return np.concatenate(jax.tree.leaves(moved))

    ours = gradient()
    assert set(seen) == {jnp.dtype("bfloat16")}
    fused.off()
    theirs = gradient()
    assert np.linalg.norm(ours - theirs) <= 0.02 * np.linalg.norm(theirs)


def test_predictions_have_no_dropout(fused):
    model, batch = tiny_model(), packed(ENCODED, range(12), 32)
    module = SelfAttention(model.bert, "float32")
    x = jax.random.normal(jax.random.key(0), (*batch.segment_ids.shape, TINY.hidden_size))
    arguments = x, jnp.asarray(batch.segment_ids), jnp.asarray(batch.position_ids), None
    params = module.init(jax.random.key(1), *arguments)
    ours = module.apply(params, *arguments)
    fused.off()
    np.testing.assert_allclose(ours, module.apply(params, *arguments), atol=1e-5)  # type: ignore[arg-type]


def test_the_weights_can_still_be_looked_at(fused):
    batch = packed(ENCODED, range(4), 32)
    weights = attention_weights(tiny_model(), lively_params(tiny_model()), batch)
    np.testing.assert_allclose(np.asarray(weights).sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("method", ["pmap", "shard_map"])
def test_several_devices_run_it(fused, method: Method):
    def trained(method: Method, count: int):
        model, parts, tx = tiny_model(), trained_parts(tiny_model(), QUORA), optax.sgd(0.1)
        parallel = Parallel(count, method)
        step = parallel.compile_train_step(make_train_step(model, QUORA, tx, parts, 5))
        batches = training_batches(ENCODED, QUORA.name, 0, 12, 1, count, None)
        state = parallel.place(init_state(jax.tree.map(np.array, lively_params(model)), tx, parts))
        return step(state, batches[0])[0].params

    ours = trained(method, 2)
    fused.off()
    assert_trees_close(ours, trained("jit", 1), atol=2e-5)


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize(
    "length, head_size, dtype", [(5, 16, "float32"), (26, 64, "bfloat16"), (64, 32, "float32"), (128, 64, "bfloat16")]
)
def test_it_can_be_lowered_for_a_gpu(monkeypatch, length, head_size, dtype, rate):
    """As far as JAX goes without one: to Triton's own language, forward and backward."""
    monkeypatch.setattr(fused_attention, "interpreted", lambda: False)
    integers = jnp.zeros((3, length), jnp.int32)
    noise = fused_attention.DropoutNoise(key=jnp.uint32(1), token=integers.astype(jnp.uint32), text=integers)
    dropout = fused_attention.Dropout(rate, 0, 512)

    def loss(qkv):
        return jnp.sum(fused_attention.attend(qkv, integers, integers, noise, dropout).astype(jnp.float32))

    qkv = jnp.zeros((3, length, 3, 2, head_size), dtype)
    text = jax.jit(jax.value_and_grad(loss)).trace(qkv).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("triton_kernel_call") == 2 or text.count("__gpu$xla.gpu.triton") == 2


@pytest.mark.parametrize(
    "capability, length",
    [(None, 0), ("7.5", 0), ("8.0", 64), ("8.6", 64), ("9.0", 128), ("10.0", 128), ("12.0", 64), ("gfx942", 0)],
)
def test_it_is_for_what_triton_compiles_for(monkeypatch, capability, length):
    device = SimpleNamespace(compute_capability=capability) if capability else SimpleNamespace()
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert backend.longest_row.__wrapped__() == length


def test_it_is_for_rows_and_heads_that_fit(monkeypatch):
    assert not backend.fits_kernel(64, 64)
    monkeypatch.setattr(backend, "longest_row", lambda: 64)
    assert backend.fits_kernel(64, 64) and backend.fits_kernel(26, 32)
    assert not backend.fits_kernel(65, 64) and not backend.fits_kernel(64, 24)


def test_gelu_by_erf_is_the_exact_one(monkeypatch):
    x = np.linspace(-12, 12, 4001)
    shares = scipy.stats.norm.cdf(x)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    values, slopes = jax.vmap(jax.value_and_grad(backend.gelu))(x.astype(np.float32))
    np.testing.assert_allclose(values, x * shares, atol=1.2e-6)
    np.testing.assert_allclose(slopes, shares + x * scipy.stats.norm.pdf(x), atol=2e-6)
    assert backend.gelu(jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16
