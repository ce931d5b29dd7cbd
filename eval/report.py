"""Scores as a table for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bert_jax.tasks import Task
from eval.metrics import summarize

HEADINGS = {"accuracy": "accuracy", "macro_f1": "macro F1", "pearson": "Pearson", "spearman": "Spearman"}


def format_score(value: float | None) -> str:
    """Say a score with three digits, or in a word that it is not defined: NaN, or null in a file.

    >>> format_score(0.5), format_score(float("nan")), format_score(None)
    ('0.500', 'undefined', 'undefined')
    """
    return "undefined" if value is None or value != value else f"{value:.3f}"


def new_table(title: str, first: str, *headings: str) -> Table:
    """A table of one column of names and columns of numbers, narrow enough for 80 characters."""
    table = Table(
        title=escape(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column(first)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def print_scores(scores: Mapping[Task, Mapping[str, Any]], rows: Mapping[Task, int], title: str) -> None:
    """Prints one line a task and the means below it; of masked LM, its own scores."""
    if all(task.is_masked_lm for task in scores):
        print_masked(scores, rows, title)
        return
    names = list(dict.fromkeys([*HEADINGS, *(task.metric for task in scores)]))
    table = new_table(title, "task", "rows", *(HEADINGS.get(name, name) for name in names))
    table.add_column("F1 by class", no_wrap=True)
    for task, values in scores.items():
        cells = [format_score(values[name]) if name in values else "" for name in names]
        by_class = " ".join(f"{value:.2f}" for value in values.get("f1", []))
        table.add_row(task.name, str(rows[task]), *cells, by_class)
    console = Console()
    console.print(table)
    console.print("  ".join(f"{name} {format_score(value)}" for name, value in summarize(scores).items()), style="bold")


def print_intervals(spread: Mapping[Task, Sequence[float]]) -> None:
    """Prints the 95 % interval of each task's metric, [low, high]."""
    said = [f"{task.name} {format_score(low)} to {format_score(high)}" for task, (low, high) in spread.items()]
    print(f"95 % intervals of {' and '.join(dict.fromkeys(task.metric for task in spread))}: {', '.join(said)}")


def print_masked(scores: Mapping[Task, Mapping[str, Any]], rows: Mapping[Task, int], title: str) -> None:
    """Prints how well the masked tokens of some texts are predicted."""
    table = new_table(title, "task", "texts", "masked tokens", "accuracy", "perplexity")
    for task, values in scores.items():
        numbers = [format_score(values[name]) for name in ("accuracy", "perplexity")]
        table.add_row(task.name, str(rows[task]), str(values["masked"]), *numbers)
    Console().print(table)
