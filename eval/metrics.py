"""Scores of predictions. NumPy and SciPy only; a score that is not defined is NaN and never a number."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

from bert_jax.tasks import Task


def predicted_labels(task: Task, outputs: np.ndarray) -> np.ndarray:
    """What a task's raw outputs say: the likeliest class, paraphrase or not (0 or 1), or the score itself."""
    return SCORES[task.kind].predict(task, outputs)


def f1_by_class(labels: np.ndarray, predictions: np.ndarray, num_labels: int) -> np.ndarray:
    """2 tp / (2 tp + fp + fn) of each class: [num_labels]. 0 for a class that is neither there nor predicted."""
    confusion = np.zeros((num_labels, num_labels))
    np.add.at(confusion, (labels.astype(np.int64), predictions.astype(np.int64)), 1)
    total = confusion.sum(0) + confusion.sum(1)
    return 2 * np.diag(confusion) / np.maximum(total, 1)


def confusion(task: Task, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often each label is predicted as each other: [labels, predictions] int. Of a similarity, whole numbers."""
    size = task.max_label + 1
    predictions = np.clip(np.round(predicted_labels(task, outputs)), 0, task.max_label)
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (np.round(labels).astype(np.int64), predictions.astype(np.int64)), 1)
    return counts


def bootstrap(task: Task, outputs: np.ndarray, labels: np.ndarray, resamples: int) -> dict[str, np.ndarray]:
    """Every score of a task on rows drawn anew, with replacement: metric -> [resamples, ...].

    The draws are always the same. Of masked LM the rows are the masked tokens. Of fewer than two rows nothing can be
    drawn but themselves, which says nothing of the scores' spread: they are NaN.
    """
    scores = score_task(task, outputs, labels)
    if len(outputs) < 2:
        return {name: np.full((resamples, *np.shape(score)), np.nan) for name, score in scores.items()}
    names = list(scores)
    labels = np.zeros(len(outputs)) if task.is_masked_lm else labels

    def statistic(rows: np.ndarray) -> np.ndarray:
        scores = score_task(task, outputs[rows], labels[rows])
        return np.concatenate([np.atleast_1d(scores[name]) for name in names])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)  # every draw has the same score
        drawn = scipy.stats.bootstrap(
            (np.arange(len(outputs)),),
            statistic,
            vectorized=False,
            n_resamples=resamples,
            method="percentile",
            rng=np.random.default_rng(0),
        ).bootstrap_distribution
    places = np.cumsum([np.size(scores[name]) for name in names])[:-1]
    parts = np.split(drawn, places)
    return {name: part.T if len(part) > 1 else part[0] for name, part in zip(names, parts, strict=True)}


def interval(drawn: np.ndarray) -> Any:
    """The 95 % interval, [low, high], of a score, or of each of several; NaN where the score of a draw is not defined.

    Its bounds are percentiles of the draws (Efron and Tibshirani, 1993, chapter 13).
    """
    return np.percentile(drawn, [2.5, 97.5], axis=0).T.tolist()


def correlation(function: Any, labels: np.ndarray, scores: np.ndarray) -> float:
    """`scipy.stats.pearsonr` or `spearmanr`; NaN where a side is constant or NaN, or there are fewer than two rows."""
    if len(labels) < 2 or np.isnan(scores).any() or np.ptp(labels) == 0 or np.ptp(scores) == 0:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.NearConstantInputWarning)
        return float(function(labels.astype(np.float64), scores.astype(np.float64)).statistic)


def score_task(task: Task, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All scores of a task: raw outputs [examples, ...] against labels [examples]; NaN if an output is not finite.

    Those of masked LM, [masked, 2], have been compared with their labels already.
    """
    return SCORES[task.kind].score(task, outputs, labels)


@dataclasses.dataclass(frozen=True)
class Scores:
    """How a kind of task is judged, and what its outputs say in words.

    predict: (task, raw outputs [examples, ...]) -> what they say, in numbers as labels are.
    score: (task, raw outputs, labels [examples, ...]) -> scores by name, the kind's metrics among them.
    answer: (task, one raw output) -> the number of its label, and a score of it.
    probabilities: one raw output -> the probability of each label, from 0 on; none of a score.
    cell: (task, one prediction) -> what a file of predictions says.
    meaning: (task) -> what a raw output is.
    """

    predict: Callable[[Task, np.ndarray], np.ndarray]
    score: Callable[[Task, np.ndarray, np.ndarray], dict[str, Any]]
    answer: Callable[[Task, Any], tuple[Any, float]]
    probabilities: Callable[[Any], Sequence[float]] = lambda _: ()
    cell: Callable[[Task, Any], Any] = lambda task, label: task.labels[int(label)] if task.labels else float(label)
    meaning: Callable[[Task], str] = lambda task: f"outputs of {task.name}"


def score_classes(task: Task, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Accuracy, and F1 of each class and on average."""
    if np.isfinite(outputs).all():
        predictions = predicted_labels(task, outputs)
        by_class, accuracy = f1_by_class(labels, predictions, task.num_labels), float((predictions == labels).mean())
    else:
        by_class, accuracy = np.full(task.num_labels, np.nan), float("nan")
    return {
        "accuracy": accuracy,
        "macro_f1": float(by_class.mean()),
        "f1": [float(value) for value in by_class],
    }


def score_similarity(task: Task, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Correlations of outputs with labels."""
    del task
    scores = outputs if np.isfinite(outputs).all() else np.full(len(labels), np.nan)
    return {
        "pearson": correlation(scipy.stats.pearsonr, labels, scores),
        "spearman": correlation(scipy.stats.spearmanr, labels, scores),
    }


def score_masked(task: Task, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Share of the masked tokens that are predicted right, and the perplexity exp(mean loss).

    Args:
      outputs: [masked, 2], each token's loss in nats, and 1 where it is predicted right, else 0.
    """
    del task, labels
    means = outputs.mean(0, dtype=np.float64) if np.isfinite(outputs).all() and len(outputs) else np.full(2, np.nan)
    with np.errstate(over="ignore"):
        return {"accuracy": float(means[1]), "perplexity": float(np.exp(means[0])), "masked": len(outputs)}


def likeliest(task: Task, output: Any) -> tuple[int, float]:
    """The likeliest class and its probability."""
    del task
    chances = scipy.special.softmax(output)
    return int(chances.argmax()), float(chances.max())


def nearest(task: Task, output: Any) -> tuple[int, float]:
    """The nearest whole number on the scale, and the output itself."""
    return int(np.clip(np.round(output), 0, task.max_label)), float(output)


SCORES: dict[str, Scores] = {
    "classification": Scores(
        lambda _, outputs: outputs.argmax(-1),
        score_classes,
        likeliest,
        scipy.special.softmax,
        lambda task, label: task.labels[int(label)] if task.labels else int(label),
        lambda task: f"logits of the classes {', '.join(map(str, task.labels)) or f'0 to {task.max_label}'}",
    ),
    "paraphrase": Scores(
        lambda _, outputs: (outputs > 0).astype(np.int64),
        score_classes,
        lambda _, output: (int(output > 0), float(scipy.special.expit(output))),
        lambda output: [scipy.special.expit(sign * output) for sign in (-1, 1)],
        meaning=lambda _: 'logit of "is a paraphrase"',
    ),
    "similarity": Scores(
        lambda _, outputs: outputs,
        score_similarity,
        nearest,
        meaning=lambda task: f"similarity, 0 to {task.max_label}",
    ),
    "mlm": Scores(lambda _, outputs: outputs, score_masked, nearest),
}


def summarize(scores: Mapping[Task, Mapping[str, Any]]) -> dict[str, float]:
    """The mean of the tasks' metrics, and the same with each correlation r counted as (r + 1) / 2.

    For sentiment, paraphrase and similarity together these are the course's scores of 2023 and of 2024.
    """
    values = {task: scores[task][task.metric] for task in scores}
    shifted = [(value + 1) / 2 if task.is_graded else value for task, value in values.items()]
    three = len(values) == 3 and len({task.kind for task in values}) == 3
    names = ("mean3", "overall24") if three else ("mean", "mean_shifted")
    return {names[0]: float(np.mean(list(values.values()))), names[1]: float(np.mean(shifted))}
