"""What `--profile` measures, and the arithmetic that it counts."""

import dataclasses
import re

import numpy as np
import pytest

from bert_jax.batches.batches import training_batches
from bert_jax.batches.masked import mask_batches
from bert_jax.config import BertConfig
from bert_jax.flops import encoder_flops, masked_lm_flops
from bert_jax.tasks import TASKS
from tests.builders import TINY, random_examples
from tests.test_masked_lm import VOCABULARY, texts_of
from train.devices.profiling import TIMED, TRACED, Profile


def test_flops_are_those_of_the_matrix_products_counted_one_by_one():
    bert = BertConfig(hidden_size=6, num_hidden_layers=2, num_attention_heads=3, intermediate_size=10, vocab_size=50)
    forward = 0
    for length in (4, 7):
        products = [(6, 18), (6, 6), (6, 10), (10, 6)]  # qkv, attention's output, feed-forward
        linear = sum(2 * length * inputs * outputs for inputs, outputs in products)
        attention = 3 * (2 * length * 2 * length + 2 * length * length * 2)  # three heads of size 2: scores, context
        forward += 2 * (linear + attention)
    assert encoder_flops(bert, np.array([[4, 7]]), training=False) == forward
    assert encoder_flops(bert, np.array([4, 7]), training=True) == 3 * forward
    assert masked_lm_flops(bert, 5) == 3 * (2 * 5 * 6 * 6 + 2 * 5 * 6 * 50)


@pytest.fixture
def batches():
    return {"sst": training_batches(random_examples(TASKS["sst"], 60), "sst", 0, 10, 60, 1, 24)}


def test_a_profile_times_updates_after_the_last_compilation_and_traces_more(tmp_path, batches):
    compiled = [1]
    profile = Profile(tmp_path / "profile", batches, lambda: compiled[0], devices=1)
    numbers = iter(range(60))
    for number in numbers:
        profile.after_update("sst", number, {}, 0.0)
        if number == 5:
            compiled[0] = 2  # so the next update begins anew
        if len(profile.updates) == TIMED + TRACED:
            break
    assert number == 6 + TIMED + TRACED and not profile.tracing
    assert profile.updates[:TIMED] == [("sst", n) for n in range(7, 7 + TIMED)]
    for number in numbers:  # it is over
        profile.after_update("sst", number, {}, 0.0)
    assert list((tmp_path / "profile").rglob("*.trace.json.gz"))

    said = profile.report(TINY, "float32", trains_encoder=True)
    examples, tokens, padding = (
        float("".join(re.findall(rf"([\d,]+){what}", said)).replace(",", ""))
        for what in (" examples/s", " tokens/s", "% padding")
    )
    lengths = [batches["sst"].encoded.lengths[batches["sst"].indices[n]] for n in range(7, 7 + TIMED)]
    assert examples == pytest.approx(10 * TIMED / profile.seconds, rel=0.01, abs=1)
    assert tokens == pytest.approx(sum(each.sum() for each in lengths) / profile.seconds, rel=0.01, abs=1)
    computed = sum(batches["sst"].shapes[n].tokens for n in range(7, 7 + TIMED))
    assert padding == pytest.approx(100 * (1 - sum(each.sum() for each in lengths) / computed), abs=0.6)


def test_a_run_that_ends_early_says_that_nothing_was_measured(tmp_path, batches):
    profile = Profile(tmp_path, batches, lambda: 1, devices=1)
    for number in range(5):
        profile.after_update("sst", number, {}, 0.0)
    profile.close()
    assert "nothing" in profile.report(TINY, "float32", trains_encoder=True)


def test_time_between_updates_that_is_no_updates_does_not_count(tmp_path, batches, monkeypatch):
    monkeypatch.setattr("train.devices.profiling.TRACED", 0)
    now = [100.0]
    monkeypatch.setattr("train.devices.profiling.time.perf_counter", lambda: now[0])
    profile = Profile(tmp_path, batches, lambda: 1, devices=1)
    for number in range(1 + TIMED):
        aside = 50.0 if number % 7 == 0 else 0.0
        now[0] += 0.25 + aside
        profile.after_update("sst", number, {}, aside)
    profile.close()
    assert profile.seconds == 0.25 * TIMED


def test_the_share_of_the_machine_is_that_of_the_devices_used_and_of_all_shares(tmp_path, monkeypatch):
    monkeypatch.setattr("train.devices.profiling.fastest_product", lambda dtype: 1e9)
    plain = training_batches(texts_of(20), "mlm", 0, 10, TIMED, 2, 64)
    said = []
    for own in (None, range(1)):
        masked = mask_batches(dataclasses.replace(plain, own=own), VOCABULARY, 5, per_epoch=2)
        profile = Profile(tmp_path, {"mlm": masked}, lambda: 1, devices=2)
        profile.updates, profile.seconds = [("mlm", n) for n in range(TIMED)], 1.0  # type: ignore[assignment]
        said.append(profile.report(TINY, "float32", trains_encoder=True))
    assert said[0] == said[1] and "of the 2 that" in said[0]
