"""Attention weights against an encoder written out in NumPy, one text at a time."""

import jax
import numpy as np
import scipy.special

from bert_jax.attention import attention_weights
from tests.builders import THREE, TINY, lively_params, packed, padded, random_examples, tiny_model

MODEL = tiny_model()
PARAMS = lively_params(MODEL)
ENCODED = random_examples(THREE[0], examples=5)


def layer_norm(x, part):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + TINY.layer_norm_eps)
    return scaled * part["scale"] + part["bias"]


def dense(x, part):
    return x @ part["kernel"] + part["bias"]


def reference(token_ids) -> np.ndarray:
    """Attention of one text, alone and without padding: [layers, heads, length, length]."""
    bert = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), PARAMS["bert"])
    table, length, found = bert["embeddings"], len(token_ids), []
    x = table["word"]["embedding"][token_ids] + table["position"]["embedding"][:length]
    x = layer_norm(x + table["token_type"]["embedding"][0], table["norm"])
    for number in range(TINY.num_hidden_layers):
        layer = bert[f"layer_{number}"]
        query, key, value = (
            dense(x, layer["attention"]["qkv"]).reshape(length, 3, TINY.num_attention_heads, -1).swapaxes(0, 1)
        )
        scores = np.stack([query[:, h] @ key[:, h].T for h in range(TINY.num_attention_heads)])
        weights = scipy.special.softmax(scores / np.sqrt(TINY.head_size), axis=-1)
        found.append(weights)
        context = np.concatenate([weights[h] @ value[:, h] for h in range(TINY.num_attention_heads)], axis=-1)
        x = layer_norm(x + dense(context, layer["attention"]["output"]), layer["attention_norm"])
        inner = dense(x, layer["feed_forward"]["intermediate"])
        inner = inner * 0.5 * (1 + scipy.special.erf(inner / np.sqrt(2)))
        x = layer_norm(x + dense(inner, layer["feed_forward"]["output"]), layer["feed_forward_norm"])
    return np.stack(found)


def test_every_layer_and_head_attends_as_written_out_in_numpy():
    batch = packed(ENCODED, range(5), length=48)
    weights = np.asarray(attention_weights(MODEL, PARAMS, batch))
    rows = batch.token_ids.shape[0]
    assert weights.shape == (TINY.num_hidden_layers, rows, TINY.num_attention_heads, 48, 48)
    assert rows < 5  # so that texts do share a row
    for text in range(5):
        row, start = divmod(int(batch.first_token[text, 0]), 48)
        begin, end = ENCODED.offsets[text], ENCODED.offsets[text + 1]
        there = slice(start, start + int(end - begin))
        np.testing.assert_allclose(
            weights[:, row, :, there, there], reference(ENCODED.tokens[begin:end]), rtol=1e-4, atol=1e-6
        )


def test_a_token_attends_to_its_own_text_alone():
    batch = packed(ENCODED, range(5), length=48)
    weights = np.asarray(attention_weights(MODEL, PARAMS, batch))
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-5)
    same = batch.segment_ids[:, :, None] == batch.segment_ids[:, None, :]
    assert (weights[:, ~same[:, None].repeat(TINY.num_attention_heads, 1)] == 0).all()


def test_attention_does_not_depend_on_padding():
    short, long = (np.asarray(attention_weights(MODEL, PARAMS, padded(ENCODED, [2], length))) for length in (24, 40))
    size = int(ENCODED.lengths[2, 0])
    np.testing.assert_allclose(short[..., :size, :size], long[..., :size, :size], rtol=1e-5, atol=1e-7)
