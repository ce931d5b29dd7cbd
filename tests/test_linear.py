"""Products that are spelt out: what is computed, and that gradients are those of the same function."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bert_jax.config import Dtype
from bert_jax.kernels import linear
from bert_jax.kernels.linear import dense, multiply_transposed, product, transpose_in_tiles
from bert_jax.tasks import TASKS
from tests.builders import lively_params, padded, random_examples, tiny_model
from train.step import init_state, make_train_step, trained_parts

SST = TASKS["sst"]


@pytest.fixture(autouse=True)
def rounding(monkeypatch):
    """Operands are rounded, whatever this processor can do."""
    monkeypatch.setattr(linear, "rounds_operands", lambda: True)


def rounded(x: np.ndarray, dtype: Dtype) -> np.ndarray:
    return np.asarray(jnp.asarray(x).astype(dtype).astype(jnp.float32), np.float64)


@pytest.mark.parametrize("shape", [(7, 5, 3), (64, 32, 96), (33, 70, 31)])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_product_and_gradients_are_those_of_rounded_operands_summed_exactly(shape, transposed, dtype):
    rows, inputs, outputs = shape
    rng = np.random.default_rng(0)
    x, gradient = rng.normal(size=(rows, inputs)).astype("f"), rng.normal(size=(rows, outputs)).astype("f")
    w = rng.normal(size=(outputs, inputs) if transposed else (inputs, outputs)).astype("f")
    result, pull = jax.vjp(lambda x, w: product(x, w, dtype, transposed), x, w)
    of_x, of_w = pull(gradient)
    a, b, g = (rounded(operand, dtype) for operand in (x, w, gradient))
    assert result.dtype == of_x.dtype == of_w.dtype == jnp.float32
    np.testing.assert_allclose(result, a @ (b.T if transposed else b), atol=1e-4)
    np.testing.assert_allclose(of_x, g @ (b if transposed else b.T), atol=1e-4)
    np.testing.assert_allclose(of_w, g.T @ a if transposed else a.T @ g, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (32, 64), (33, 95), (100, 7)])
def test_transposing_in_tiles_is_transposing(shape):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert (np.asarray(transpose_in_tiles(jnp.asarray(x))) == x.T).all()


def gradient(dtype: Dtype) -> np.ndarray:
    """Of everything, in one vector, read off one update of plain gradient descent with dropout."""
    model, params = tiny_model(dtype=dtype), lively_params(tiny_model(), scale=2.0)
    trained, tx = trained_parts(model, SST), optax.sgd(1.0)
    step = jax.jit(make_train_step(model, SST, tx, trained, seed=3))
    before = init_state(params, tx, trained)
    after, metrics = step(before, padded(random_examples(SST, 6), range(6), 24))
    assert metrics["applied"]
    moved = jax.tree.map(lambda a, b: np.asarray(a - b).ravel(), before.params, after.params)
    return np.concatenate(jax.tree.leaves(moved))


@pytest.mark.parametrize("rounds", [True, False])
def test_a_models_gradient_is_near_that_in_float32(monkeypatch, rounds):
    exact = gradient("float32")
    monkeypatch.setattr(linear, "rounds_operands", lambda: rounds)
    error = np.linalg.norm(gradient("bfloat16") - exact) / np.linalg.norm(exact)
    assert 1e-5 < error < 1e-2


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_on_a_cpu_nothing_is_transposed_for_a_weights_gradient_in_float32(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    x, table = jnp.ones((2, 3, 5)), jnp.ones((7, 5))
    layer = dense(4, "float32", "layer")
    params = layer.init(jax.random.key(0), x)
    of_layer = jax.make_jaxpr(jax.grad(lambda params: jnp.sum(jnp.asarray(layer.apply(params, x)))))(params)
    of_table = jax.make_jaxpr(jax.grad(lambda table: jnp.sum(multiply_transposed(x, table, "float32"))))(table)
    assert ("transpose[" in str(of_layer)) == (backend == "gpu")
    assert "transpose[" not in str(of_table)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_decoders_gradients_are_products_of_its_own_type(monkeypatch, dtype):
    """On a GPU as well, where bfloat16 is the type of values: a product of float32 takes many times as long there."""
    monkeypatch.setattr(linear, "rounds_operands", lambda: False)
    x, table = jnp.ones((2, 3, 5), dtype), jnp.ones((7, 5))
    gradient = jax.jit(jax.grad(lambda x, table: jnp.sum(multiply_transposed(x, table, dtype) ** 2), (0, 1)))
    operands = re.findall(r"dot_general .*: \((.+)\) ->", gradient.lower(x, table).as_text())
    assert len(operands) == 3
    assert all(each.count({"float32": "xf32", "bfloat16": "xbf16"}[dtype]) == 2 for each in operands)
