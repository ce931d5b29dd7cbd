"""Outputs equal Hugging Face's, on stored references (made by references/make.py)."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from bert_jax.batches.packing import BatchShape, PackedBatch, pack
from bert_jax.config import BertConfig
from bert_jax.errors import WeightsError
from bert_jax.heads import MaskedLmHead, Pooler
from bert_jax.modules import Encoder
from bert_jax.weights.folder import find_weights, load_weights
from tests.builders import encode_ids

REFERENCES = Path(__file__).parent / "references"
RANDOM = ["prefixed_gamma_beta", "plain", "plain_wide"]


def run_packed(bert: BertConfig, params: dict, stored) -> tuple[list[np.ndarray], np.ndarray]:
    """Packs all texts of a reference, several a row, and gives each text's hidden states and all pooler outputs."""
    lengths = stored["mask"].sum(1)
    texts = [stored["token_ids"][row, :length].tolist() for row, length in enumerate(lengths)]
    kinds = [stored["token_type_ids"][row, :length].tolist() for row, length in enumerate(lengths)]
    batch: PackedBatch = pack(
        encode_ids(texts, kinds), np.arange(len(texts)), BatchShape(3, bert.max_position_embeddings), len(texts)
    )
    encoder = jax.jit(Encoder(bert).apply)
    hidden = encoder({"params": params["bert"]}, batch)
    first = encoder({"params": params["bert"]}, batch, None, batch.first_token[:, 0])  # computed alone
    pooled = Pooler(bert).apply({"params": params["pooler"]}, first)
    flat, segments = np.asarray(hidden).reshape(-1, bert.hidden_size), np.asarray(batch.segment_ids).reshape(-1)
    return [flat[segments == text + 1] for text in range(len(texts))], np.asarray(pooled)


@pytest.mark.parametrize("name", RANDOM)
def test_random_models_give_the_reference_outputs(name):
    bert, params = load_weights(REFERENCES / name)
    with np.load(REFERENCES / name / "outputs.npz") as stored:
        hidden, pooled = run_packed(bert, params, stored)
        for text, ours in enumerate(hidden):
            np.testing.assert_allclose(ours, stored["last_hidden_state"][text, : len(ours)], atol=1e-4, rtol=0)
        np.testing.assert_allclose(pooled, stored["pooler"], atol=1e-4, rtol=0)


def test_minilm_gives_the_reference_outputs():
    try:
        folder = find_weights("all-minilm-l6-v2")
    except WeightsError as error:
        pytest.skip(str(error))
    bert, params = load_weights(folder)
    with np.load(REFERENCES / "minilm.npz") as stored:
        hidden, pooled = run_packed(bert, params, stored)
        for text, ours in enumerate(hidden):
            wanted = stored["last_hidden_state"][text, : -(-len(ours) // 16)]
            np.testing.assert_allclose(ours[::16], wanted, atol=1e-4, rtol=0)
        np.testing.assert_allclose(pooled, stored["pooler"], atol=1e-4, rtol=0)


def test_masked_lm_head_gives_the_reference_logits():
    folder = REFERENCES / "prefixed_gamma_beta"
    bert, params = load_weights(folder)
    with np.load(folder / "outputs.npz") as stored:
        hidden, _ = run_packed(bert, params, stored)
        table = params["bert"]["embeddings"]["word"]["embedding"]
        logits = MaskedLmHead(bert).apply({"params": params["mlm"]}, hidden[3], table)
        np.testing.assert_allclose(np.asarray(logits), stored["masked_lm_logits"], atol=1e-4, rtol=0)


def test_reference_models_have_dimensions_that_all_differ():
    for name in RANDOM:
        config = json.loads((REFERENCES / name / "config.json").read_text())
        sizes = [config[key] for key in ("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size")]
        sizes += [config["max_position_embeddings"], config["hidden_size"] // config["num_attention_heads"]]
        assert len(set(sizes)) == len(sizes)
