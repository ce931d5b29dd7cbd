"""`python -m eval.audit --data_dir=D`: what is wrong or surprising with the tables and bears on scores."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bert_jax.cli.command import run_command
from bert_jax.data.sample import SAMPLE
from bert_jax.definition import find_tasks
from bert_jax.tasks import COURSE_TASKS
from eval.overlaps import audit_tables
from eval.report import new_table


@dataclasses.dataclass(frozen=True)
class AuditConfig:
    """Counts the rows, labels and lengths of each table, the rows that stand twice or with two labels, and those that
    stand in another split as well.
    """

    data_dir: Path | None = None
    """Folder with the tables. Default: the embedded sample."""
    tasks: str = "sst,cfimdb,quora,sts"
    """Tasks, separated by commas; files that the folder lacks are left out."""
    json: bool = False
    """Print one JSON object instead of tables."""


def main(flags: AuditConfig) -> None:
    """Prints what is found; nothing here needs JAX."""
    found = audit_tables(flags.data_dir or SAMPLE, find_tasks(flags.tasks, COURSE_TASKS))
    if flags.json:
        print(json.dumps(found, indent=1))
    else:
        print_audit(found)


def print_audit(found: dict[str, Any]) -> None:
    """Prints the tables, what is missing and what counts as the same."""
    console = Console()
    tasks: dict[str, dict[str, Any]] = found["tasks"]
    for table in (all_splits(tasks), all_labels(tasks), all_shared(tasks), all_conflicts(tasks)):
        if table.row_count:
            console.print(table)
    if found["missing"]:
        console.print(f"not there: {', '.join(found['missing'])}", highlight=False, markup=False)
    console.print(
        "The same means the same words, whatever their case and punctuation; a pair in either order. Rows without a "
        "label are in no other count. A similarity counts with the whole number below it.",
        highlight=False,
    )


def all_splits(tasks: dict[str, dict[str, Any]]) -> Table:
    """A line a table: its rows, and what is odd about them."""
    folders = dict.fromkeys(task["folder"] for task in tasks.values())
    headings = ("rows", "no label", "empty", "repeated", "equal pair", "words", "95 %", "longest")
    table = new_table(f"tables of {', '.join(folders)}", "task", *headings)
    table.columns[0].no_wrap = True
    for name, one in _each_table(tasks):
        cells = [one["rows"], one["without_label"], one["empty_texts"], one["repeated"]["rows"]]
        lengths = [one["words"][key] for key in ("median", "p95", "longest")]
        table.add_row(name, *map(_count, [*cells, one.get("equal_pairs"), *lengths]))
    return table


def all_labels(tasks: dict[str, dict[str, Any]]) -> Table:
    """A line a table that has labels: the rows of each."""
    counts = {name: one["labels"] for name, one in _each_table(tasks) if one["labels"]}
    labels = list(dict.fromkeys(label for of in counts.values() for label in of))
    table = new_table("rows of each label", "task", *labels)
    for name, of in counts.items():
        table.add_row(name, *(_count(of.get(label)) for label in labels))
    return table


def all_shared(tasks: dict[str, dict[str, Any]]) -> Table:
    """A line for two tables of a task: the rows of the one that stand in the other as well."""
    headings = ("rows of", "found in", "rows", "%", "sentences in both", "rows with one")
    table = new_table("rows that stand in another table too", "task", *headings)
    for name, task in tasks.items():
        for pair in task["shared"]:
            share = f"{100 * pair['rows'] / pair['of']:.2f}"
            rest = [_count(pair.get(key)) for key in ("sentences", "rows_with_sentence")]
            table.add_row(name, pair["rows_of"], pair["in"], _count(pair["rows"]), share, *rest)
    return table


def all_conflicts(tasks: dict[str, dict[str, Any]]) -> Table:
    """A line a train table: what stands in it with more than one label, if only with two similarities."""
    table = new_table("in train with two labels", "task", "texts or pairs", "rows")
    for name, task in tasks.items():
        if "conflicts" in task:
            table.add_row(name, *(_count(task["conflicts"][key]) for key in ("distinct", "rows")))
    return table


def _each_table(tasks: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Each table by the name of its task and split, and its counts."""
    return [(f"{name} {split}", one) for name, task in tasks.items() for split, one in task["splits"].items()]


def _count(number: int | None) -> str:
    """A number with commas, or nothing where there is none."""
    return "" if number is None else f"{number:,}"


if __name__ == "__main__":
    run_command(AuditConfig, main, "eval.audit")
