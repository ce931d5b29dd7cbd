"""Scores against scikit-learn and SciPy, and every row scored once."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from bert_jax.batches.batches import evaluation_batches
from bert_jax.tasks import MASKED_LM, TASKS
from eval.evaluate import predict_split
from eval.metrics import bootstrap, interval, score_task, summarize
from tests.builders import THREE, random_examples

SST, QUORA, STS = THREE


@pytest.mark.parametrize("rows", [1, 7, 245])
def test_classification_scores_equal_scikit_learns(rows):
    rng = np.random.default_rng(rows)
    logits, labels = rng.normal(size=(rows, 5)), rng.integers(0, 5, rows).astype(np.float32)
    scores = score_task(SST, logits, labels)
    predictions = logits.argmax(1)
    assert scores["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions))
    by_class = sklearn.metrics.f1_score(labels, predictions, average=None, labels=range(5), zero_division=0)  # type: ignore[arg-type]
    np.testing.assert_allclose(scores["f1"], by_class)
    assert scores["macro_f1"] == pytest.approx(np.mean(by_class))


def test_paraphrase_scores_equal_scikit_learns():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=300), rng.integers(0, 2, 300).astype(np.float32)
    scores = score_task(QUORA, logits, labels)
    assert scores["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, logits > 0))
    np.testing.assert_allclose(scores["f1"], sklearn.metrics.f1_score(labels, logits > 0, average=None))  # type: ignore[arg-type]


def test_similarity_scores_equal_scipys():
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=863).astype(np.float32), rng.uniform(0, 5, 863).astype(np.float32)
    scores = score_task(STS, outputs, labels)
    assert scores["pearson"] == pytest.approx(scipy.stats.pearsonr(outputs.astype(float), labels.astype(float))[0])
    assert scores["spearman"] == pytest.approx(scipy.stats.spearmanr(outputs, labels)[0])


@pytest.mark.parametrize("outputs", [np.ones(9), np.ones(1)], ids=["constant", "one row"])
def test_a_correlation_that_is_not_defined_is_nan(outputs):
    assert math.isnan(score_task(STS, outputs, np.arange(len(outputs), dtype=np.float32))["pearson"])


def test_too_few_rows_to_draw_from_have_no_interval():
    drawn = bootstrap(SST, np.zeros((1, 5)), np.zeros(1), 10)
    assert drawn["accuracy"].shape == (10,) and drawn["f1"].shape == (10, 5)
    assert np.isnan([*interval(drawn["accuracy"]), *np.ravel(interval(drawn["f1"]))]).all()
    for masked in (0, 1):
        drawn = bootstrap(MASKED_LM, np.ones((masked, 2)), np.zeros(1), 10)
        assert np.isnan(interval(drawn["perplexity"])).all()


def test_the_means_are_the_courses():
    scores = {SST: {"accuracy": 0.5}, QUORA: {"accuracy": 0.8}, STS: {"pearson": 0.4}}
    assert summarize(scores) == pytest.approx({"mean3": 1.7 / 3, "overall24": 2.0 / 3})
    assert list(summarize({SST: {"accuracy": 0.5}})) == ["mean", "mean_shifted"]
    assert math.isnan(summarize({**scores, STS: {"pearson": float("nan")}})["mean3"])


@pytest.mark.parametrize("task", THREE, ids=lambda task: task.name)
def test_outputs_that_are_not_finite_have_no_score(task):
    outputs = np.full((6, 5) if task is SST else 6, 1.0)
    outputs[2] = np.nan
    scores = score_task(task, outputs, np.arange(6, dtype=np.float32) % 2)
    assert all(np.isnan(value).all() for value in scores.values())


@pytest.mark.parametrize("shares", [1, 2, 4])
@pytest.mark.parametrize("rows", [1, 7, 16, 33])
def test_every_row_is_predicted_once_and_in_order(rows, shares):
    encoded = random_examples(TASKS["sst"], rows)
    batches = evaluation_batches(encoded, batch_size=16, shares=shares, row_length=None)
    outputs = predict_split(lambda batch: np.asarray(batch.example_ids)[np.asarray(batch.weights) > 0] * 10.0, batches)
    assert outputs.tolist() == [10.0 * row for row in range(rows)]
