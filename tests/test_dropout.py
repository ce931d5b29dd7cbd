"""The hash behind dropout, held against what a fair coin does and against JAX's own generator."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

import bert_jax.dropout
import bert_jax.modules
from bert_jax.config import ModelConfig
from bert_jax.dropout import GOLDEN, keep_mask, make_noise, mix
from bert_jax.heads import predict_logits
from bert_jax.tasks import TASKS
from tests.builders import TINY, lively_params, packed, padded, random_examples

TOKENS, FEATURES = 2048, 512


def mask(rate: float, seed: int = 0, step: int = 0, site: int = 0, offset: int = 0) -> np.ndarray:
    key = mix(mix(jnp.uint32(seed)) + jnp.uint32(step))
    counter = jnp.arange(offset, offset + TOKENS, dtype=jnp.uint32)[:, None]
    return np.asarray(keep_mask(key, site, counter, jnp.arange(FEATURES, dtype=jnp.uint32)[None, :], rate))


def threefry(rate: float, seed: int) -> np.ndarray:
    return np.asarray(jax.random.bernoulli(jax.random.key(seed), 1 - rate, (TOKENS, FEATURES)))


def z_of_agreement(a: np.ndarray, b: np.ndarray, rate: float) -> float:
    """How many standard deviations the share of equal entries is from that of independent masks."""
    expected = rate**2 + (1 - rate) ** 2
    return abs((a == b).mean() - expected) / np.sqrt(expected * (1 - expected) / a.size)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_the_rate_is_right_overall_for_every_token_and_for_every_feature(rate):
    for make in (lambda seed: mask(rate, seed=seed), lambda seed: threefry(rate, seed)):
        dropped = ~make(7)
        sigma = np.sqrt(rate * (1 - rate))
        assert abs(dropped.mean() - rate) < 4 * sigma / np.sqrt(dropped.size)
        for axis, size in ((0, TOKENS), (1, FEATURES)):
            z = (dropped.mean(axis) - rate) / (sigma / np.sqrt(size))
            assert np.abs(z).max() < 5 and 0.85 < z.std() < 1.15


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_neighbours_seeds_steps_sites_and_examples_are_independent(rate):
    base = mask(rate)
    pairs = {
        "neighbouring features": (base[:, 1:], base[:, :-1]),
        "neighbouring tokens": (base[1:], base[:-1]),
        "two features on": (base[:, 2:], base[:, :-2]),
        "tokens a text apart": (base[512:], base[:-512]),
        "next seed": (base, mask(rate, seed=1)),
        "next step": (base, mask(rate, step=1)),
        "step and seed swapped": (mask(rate, seed=0, step=1), mask(rate, seed=1, step=0)),
        "next site": (base, mask(rate, site=1)),
        "other examples": (base, mask(rate, offset=10**6)),
    }
    for name, (a, b) in pairs.items():
        assert z_of_agreement(a, b, rate) < 4.5, name
    assert z_of_agreement(base, base, rate) > 100  # the test can fail
    assert z_of_agreement(base[:, 1:], threefry(rate, 0)[:, 1:], rate) < 4.5


def test_pairs_of_bits_and_runs_are_those_of_a_fair_coin():
    bits = mask(0.5).reshape(-1)
    transitions = np.array([(bits[:-1] & bits[1:]).mean(), (bits[:-1] & ~bits[1:]).mean()])
    assert np.abs(transitions - 0.25).max() < 5 * 0.5 / np.sqrt(bits.size)
    words = np.packbits(bits[: 8 * (bits.size // 8)])
    counts = np.bincount(words, minlength=256)
    chi = ((counts - words.size / 256) ** 2 / (words.size / 256)).sum()
    assert 160 < chi < 370  # 255 degrees of freedom, 4.5 standard deviations either way


def test_every_input_bit_moves_half_of_the_output_bits():
    x = np.random.default_rng(0).integers(0, 2**32, 20_000, np.uint32)
    for bit in range(32):
        flipped = np.asarray(mix(jnp.asarray(x)) ^ mix(jnp.asarray(x ^ np.uint32(1 << bit))))
        per_output = ((flipped[:, None] >> np.arange(32, dtype=np.uint32)) & 1).mean(0)
        assert np.abs(per_output - 0.5).max() < 0.06


def test_a_tokens_number_does_not_depend_on_where_it_lies():
    encoded = random_examples(TASKS["quora"], 9)
    tight, loose = packed(encoded, [4, 2, 7], 40), padded(encoded, [4, 2, 7], 24)
    numbers = []
    for batch in (tight, loose):
        noise, segments = make_noise(1, 2, batch, 64), np.asarray(batch.segment_ids)
        numbers.append([np.asarray(noise.token)[segments == segment].tolist() for segment in range(1, 7)])
    assert numbers[0] == numbers[1]
    flat = [number for text in numbers[0] for number in text]
    assert len(set(flat)) == len(flat)


def sites_asked(monkeypatch, layers: int) -> list[int]:
    """Key and site of each mask that a model with so many layers asks for, in one number; 0 where it is traced."""
    asked = []

    def spy(key, site, *args):
        asked.append(0 if isinstance(key, Tracer) else (int(key) + site * GOLDEN) % 2**32)
        return keep_mask(key, site, *args)

    for module in (bert_jax.dropout, bert_jax.modules):
        monkeypatch.setattr(module, "keep_mask", spy)
    model = ModelConfig(dataclasses.replace(TINY, num_hidden_layers=layers))
    batch = packed(random_examples(TASKS["sst"], 3), range(3), 40)
    predict_logits(model, TASKS["sst"], lively_params(model), batch, make_noise(1, 2, batch, 64))
    return asked


def test_every_dropout_of_the_network_has_a_site_of_its_own(monkeypatch):
    with jax.disable_jit():
        asked = sites_asked(monkeypatch, layers=5)
    assert len(asked) == len(set(asked)) == 2 + 3 * 5


def test_layers_are_traced_once(monkeypatch):
    traced = sites_asked(monkeypatch, layers=7).count(0)
    assert traced == 2 * 3  # the first and the last, which reads [CLS] alone
