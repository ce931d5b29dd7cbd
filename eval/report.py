"""Scores as a table for a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bert_jax.tasks import Task
from eval.metrics import summarize


def format_score(value: float) -> str:
    """Three digits, or the word where there is no score.

    >>> format_score(0.5), format_score(float("nan"))
    ('0.500', 'undefined')
    """
    return "undefined" if value != value else f"{value:.3f}"


def print_scores(scores: Mapping[Task, Mapping[str, Any]], rows: Mapping[Task, int], title: str) -> None:
    """Prints one line a task and the means below it."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("task")
    for heading in ("rows", "accuracy", "macro F1", "Pearson", "Spearman"):
        table.add_column(heading, justify="right")
    table.add_column("F1 by class")
    for task, values in scores.items():
        names = ("accuracy", "macro_f1", "pearson", "spearman")
        cells = [format_score(values[name]) if name in values else "" for name in names]
        by_class = " ".join(f"{value:.2f}" for value in values.get("f1", []))
        table.add_row(task.name, str(rows[task]), *cells, by_class)
    console = Console()
    console.print(table)
    console.print("  ".join(f"{name} {format_score(value)}" for name, value in summarize(scores).items()), style="bold")
