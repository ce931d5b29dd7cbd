"""Pooling and heads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.config import ModelConfig
from bert_jax.dropout import make_noise
from bert_jax.errors import InputError
from bert_jax.heads import cosine_similarity, embed, encode, init_params, mean_hidden, predict_logits, used_parts
from bert_jax.modules import attention_bias, layer_norm, take
from tests.builders import THREE, TINY, encode_ids, lively_params, packed, padded, random_examples, tiny_model
from tests.test_step import assert_trees_close

SST, QUORA, STS = THREE


def test_pooling_takes_each_texts_own_tokens():
    encoded = encode_ids([[1] * 3, [2] * 2, [3] * 4, [4]], texts=2)
    batch = packed(encoded, [0, 1], 6, slots=3)
    hidden = jnp.asarray(batch.token_ids, jnp.float32)[..., None] * jnp.array([[[1.0, 10.0]]])
    first, segments = jnp.asarray(batch.first_token), jnp.asarray(batch.segment_ids)
    for pooled in (take(hidden, first), mean_hidden(hidden, segments, first)):
        np.testing.assert_allclose(pooled[:2, :, 0], [[1, 2], [3, 4]])
        np.testing.assert_allclose(pooled[:2, :, 1], [[10, 20], [30, 40]])
    np.testing.assert_allclose(mean_hidden(hidden, segments, first)[2], 0.0)  # an empty slot


def test_tokens_read_alone_have_the_values_and_gradients_of_the_whole_with_dropout():
    model, params = tiny_model(), lively_params(tiny_model())
    batch = packed(random_examples(STS, 5), range(5), 40)
    noise = make_noise(3, 7, batch, model.bert.max_position_embeddings)
    ways = jnp.sin(jnp.arange(model.bert.hidden_size))  # a sum alone would have no gradient through LayerNorm

    def whole(bert):
        return take(encode(model, {"bert": bert}, batch, noise), jnp.asarray(batch.first_token))

    def alone(bert):
        return encode(model, {"bert": bert}, batch, noise, batch.first_token)

    np.testing.assert_allclose(alone(params["bert"]), whole(params["bert"]), atol=1e-6)
    assert not np.allclose(alone(params["bert"]), encode(model, params, batch, None, batch.first_token), atol=1e-2)
    gradients = [jax.grad(lambda bert, f=f: jnp.sum(f(bert) @ ways))(params["bert"]) for f in (alone, whole)]
    assert_trees_close(*gradients, atol=1e-5)
    assert any(np.abs(leaf).max() > 0.1 for leaf in jax.tree.leaves(gradients))


def test_layer_norm_has_berts_epsilon_and_not_flaxs():
    """Values near 1e-4 are brought to unit variance; an epsilon of 1e-6 would leave them at a hundredth of that."""
    x = 1e-4 * jnp.array([[1.0, -1.0, 2.0, -2.0]])
    normed = np.asarray(layer_norm(TINY, "norm").apply({"params": {"scale": jnp.ones(4), "bias": jnp.zeros(4)}}, x))
    assert normed.std() == pytest.approx(1.0, abs=1e-3)


def test_attention_sees_its_own_text_alone():
    bias = attention_bias(jnp.array([[1, 1, 2, 0]]))[0, 0]
    assert (np.asarray(jax.nn.softmax(bias)) == [[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).all()


@pytest.mark.parametrize(("floor", "zero", "minus_one"), [(-1.0, 2.5, 0.0), (0.0, 0.0, -5.0)])
def test_the_cosine_is_scaled_to_the_tasks_range(floor, zero, minus_one):
    vectors = jnp.array([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    cosine = cosine_similarity(jnp.broadcast_to(vectors[0], (3, 2)), vectors)
    np.testing.assert_allclose(cosine, [1, 0, -1], atol=1e-6)
    model = tiny_model(similarity_head="cosine", cosine_floor=floor)
    params, batch = lively_params(model), packed(random_examples(STS, 3), range(3), 40)
    texts = np.asarray(embed(model, params, batch))
    angle = [np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in texts]
    scores = np.asarray(predict_logits(model, STS, params, batch))
    np.testing.assert_allclose(scores, np.interp(angle, [-1, 0, 1], [minus_one, zero, 5.0]), atol=1e-4)


def test_the_cosine_head_of_a_text_with_itself_is_the_highest_score_and_has_no_parameters():
    model = tiny_model(similarity_head="cosine")
    params = lively_params(model)
    encoded = encode_ids([[3, 4, 5], [3, 4, 5], [7, 8], [9, 10, 11]], texts=2)
    scores = np.asarray(predict_logits(model, STS, params, packed(encoded, [0, 1], 16)))
    assert scores[0] == pytest.approx(5.0, abs=1e-5) and 0 <= scores[1] < 5
    assert "sts" not in params and used_parts(model, STS) == ("bert", "pooler")


def test_the_cosine_of_zero_vectors_has_a_finite_gradient():
    gradient = jax.grad(lambda x: cosine_similarity(x, jnp.ones(4)))(jnp.zeros(4))
    assert np.isfinite(gradient).all()


def test_a_cosine_needs_two_embeddings():
    with pytest.raises(InputError, match="--pair_encoding=separate"):
        tiny_model(similarity_head="cosine", pair_encoding="joint")
    with pytest.raises(InputError, match="type_vocab_size is 1"):
        ModelConfig(bert=dataclasses.replace(TINY, type_vocab_size=1), pair_encoding="joint")


def test_a_pair_encoded_jointly_has_a_head_of_one_embedding():
    separate, joint = (init_params(tiny_model(pair_encoding=e), THREE, 0) for e in ("separate", "joint"))
    hidden = TINY.hidden_size
    assert separate["quora"]["dense"]["kernel"].shape == (2 * hidden, 1)
    assert joint["quora"]["dense"]["kernel"].shape == (hidden, 1)
    assert joint["sst"]["dense"]["kernel"].shape == (hidden, 5)


def test_outputs_have_one_shape_a_kind():
    model = tiny_model()
    params = lively_params(model)
    for task, shape in ((SST, (4, 5)), (QUORA, (4,)), (STS, (4,))):
        assert predict_logits(model, task, params, packed(random_examples(task, 4), range(4), 40)).shape == shape


def test_initial_parameters_depend_on_seed_and_name_alone():
    few, all_three = init_params(tiny_model(), THREE[:1], 5), init_params(tiny_model(), THREE, 5)
    other = init_params(tiny_model(), THREE, 6)
    for part in few:
        for a, b in zip(jax.tree.leaves(few[part]), jax.tree.leaves(all_three[part]), strict=True):
            assert (a == b).all()
    kernel = all_three["bert"]["layer_0"]["attention"]["qkv"]["kernel"]
    assert (kernel != other["bert"]["layer_0"]["attention"]["qkv"]["kernel"]).any()
    assert (kernel != all_three["bert"]["layer_1"]["attention"]["qkv"]["kernel"]).any()
    assert kernel.std() == pytest.approx(0.02, rel=0.1) and kernel.dtype == np.float32


def test_weights_that_are_given_stand_in_place_of_random_ones():
    weights = {part: tree for part, tree in init_params(tiny_model(), THREE, 9).items() if part in ("bert", "pooler")}
    params = init_params(tiny_model(), THREE, 5, given=weights)
    assert params["bert"] is weights["bert"] and params["pooler"] is weights["pooler"]
    assert (params["sst"]["dense"]["kernel"] == init_params(tiny_model(), THREE, 5)["sst"]["dense"]["kernel"]).all()
    assert set(init_params(tiny_model(pooling="mean"), THREE, 5, given=weights)) == {"bert", "sst", "quora", "sts"}


def test_bfloat16_stays_near_float32():
    params = lively_params(tiny_model(), scale=2.0)
    batch = padded(random_examples(SST, 6), range(6), 24)
    full = np.asarray(predict_logits(tiny_model(), SST, params, batch))
    half = predict_logits(tiny_model(dtype="bfloat16"), SST, params, batch)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, full, atol=2e-2, rtol=0)
    assert (np.asarray(half) != full).any()
