"""Scores of predictions. NumPy and SciPy only; a score that is not defined is NaN and never a number."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats

from bert_jax.tasks import Task


def predicted_labels(task: Task, outputs: np.ndarray) -> np.ndarray:
    """What a task's raw outputs say: the likeliest class, paraphrase or not (0 or 1), or the score itself."""
    if task.kind == "classification":
        return outputs.argmax(-1)
    if task.kind == "paraphrase":
        return (outputs > 0).astype(np.int64)
    return outputs


def f1_by_class(labels: np.ndarray, predictions: np.ndarray, num_labels: int) -> np.ndarray:
    """2 tp / (2 tp + fp + fn) of each class: [num_labels]. 0 for a class that is neither there nor predicted."""
    confusion = np.zeros((num_labels, num_labels))
    np.add.at(confusion, (labels.astype(np.int64), predictions.astype(np.int64)), 1)
    total = confusion.sum(0) + confusion.sum(1)
    return 2 * np.diag(confusion) / np.maximum(total, 1)


def correlation(function: Any, labels: np.ndarray, scores: np.ndarray) -> float:
    """`scipy.stats.pearsonr` or `spearmanr`; NaN where a side is constant or NaN, or there are fewer than two rows."""
    if len(labels) < 2 or np.isnan(scores).any() or np.ptp(labels) == 0 or np.ptp(scores) == 0:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.NearConstantInputWarning)
        return float(function(labels.astype(np.float64), scores.astype(np.float64)).statistic)


def score_masked(outputs: np.ndarray) -> dict[str, Any]:
    """Share of the masked tokens that are predicted right, and the perplexity exp(mean loss).

    Args:
      outputs: [masked, 2], each token's loss in nats, and 1 where it is predicted right, else 0.
    """
    means = outputs.mean(0, dtype=np.float64) if np.isfinite(outputs).all() and len(outputs) else np.full(2, np.nan)
    with np.errstate(over="ignore"):
        return {"accuracy": float(means[1]), "perplexity": float(np.exp(means[0])), "masked": len(outputs)}


def score_task(task: Task, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All scores of a task: raw outputs [examples, ...] against labels [examples]; NaN if an output is not finite.

    Those of masked LM, [masked, 2], have been compared with their labels already.
    """
    if task.kind == "mlm":
        return score_masked(outputs)
    predictions = predicted_labels(task, outputs)
    if not np.isfinite(outputs).all():
        predictions = np.full(len(labels), np.nan)
    if task.kind == "similarity":
        return {
            "pearson": correlation(scipy.stats.pearsonr, labels, predictions),
            "spearman": correlation(scipy.stats.spearmanr, labels, predictions),
        }
    if np.isnan(predictions).any():
        by_class, accuracy = np.full(task.num_labels, np.nan), float("nan")
    else:
        by_class, accuracy = f1_by_class(labels, predictions, task.num_labels), float((predictions == labels).mean())
    return {
        "accuracy": accuracy,
        "macro_f1": float(by_class.mean()),
        "f1": [float(value) for value in by_class],
    }


def summarize(scores: Mapping[Task, Mapping[str, Any]]) -> dict[str, float]:
    """The mean of the tasks' metrics, and the same with each correlation r counted as (r + 1) / 2.

    For sentiment, paraphrase and similarity together these are the course's scores of 2023 and of 2024.
    """
    values = {task: scores[task][task.metric] for task in scores}
    shifted = [(value + 1) / 2 if task.kind == "similarity" else value for task, value in values.items()]
    three = len(values) == 3 and len({task.kind for task in values}) == 3
    names = ("mean3", "overall24") if three else ("mean", "mean_shifted")
    return {names[0]: float(np.mean(list(values.values()))), names[1]: float(np.mean(shifted))}
