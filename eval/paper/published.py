"""What the paper reports: which runs its tables are made of, what each cell is, and the number printed there.

The numbers themselves are in published.toml.
"""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Split = Literal["train", "dev"]

SUITED = "suited"  # marks the runs whose last stage has the rate that suits the weights at hand


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run of a recipe, with some settings of `train.main` in place of the recipe's.

    name: of its folder.
    share: of Quora's train table.
    """

    name: str
    recipe: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    share: float = 1.0


@dataclasses.dataclass(frozen=True)
class Cell:
    """Where a number stands: the score `metric` of a task, or one entry of it, on a split, after a stage.

    metric: of `eval.metrics.score_task`; or "mean3", of all tasks.
    task: the run's only one, if it has no name here.
    entry: of a score by class.
    """

    split: Split
    metric: str
    task: str = ""
    entry: int | None = None
    stage: str = "finetune"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table: our run, and what the paper says in each column; None where it says nothing."""

    label: str
    experiment: str
    paper: tuple[float | None, ...]
    stage: str | None = None  # in place of that of the columns


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A table of the paper, or one beside it."""

    title: str
    columns: Mapping[str, Cell]
    rows: tuple[Row, ...]
    note: str = ""


SHARES = (1.0, 0.5, 0.25, 0.125)  # of Quora's train table, in Figure 1
FIGURE_EPOCHS = 5


def _load_tables() -> dict[int, PaperTable]:
    """Read published.toml: its tables, by their numbers."""
    stored = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    tables = {}
    for number, table in stored["tables"].items():
        cells = {name: Cell(**cell) for group in table["columns"] for name, cell in stored["columns"][group].items()}
        rows = [
            Row(label, experiment, tuple(None if said == "-" else said for said in paper), *stage)
            for label, experiment, paper, *stage in table["rows"]
        ]
        tables[int(number)] = PaperTable(table["title"], cells, tuple(rows), table.get("note", ""))
    return tables


TABLES = _load_tables()


def find_experiment(name: str, rate: float) -> Experiment:
    """Find the run that a row is read from.

    Args:
      rate: the learning rate of the last stage of those that are "suited"; their masked LM has the usual one.
    """
    recipe, _, variant = name.partition("-")
    settings: dict[str, Any] = {"lr": rate} if variant == SUITED else {}
    if variant and "mlm" in recipe:
        settings["mlm_lr"] = "usual"
    return Experiment(name, recipe, settings)


def size_study(scheduler: str, share: float, epochs: int) -> Experiment:
    """One point of Figure 1: a scheduler on a share of Quora's train table."""
    return Experiment(f"size-{scheduler}-{share:g}", scheduler, {"epochs": epochs}, share)


def wanted_experiments(
    tables: Sequence[int], shares: Sequence[float], rate: float, figure_epochs: int
) -> list[Experiment]:
    """List the runs that some tables, and the figure at some shares, are made of, each once.

    Those that begin with stages of others come after them.
    """
    names = dict.fromkeys(row.experiment for number in tables for row in TABLES[number].rows)
    found = [find_experiment(name, rate) for name in names]
    found.sort(key=lambda run: (run.name.endswith(SUITED), len(run.settings), "cosine" in run.name))
    return found + [size_study(each, share, figure_epochs) for share in shares for each in ("in_turn", "mtdnn")]


def read_stages(name: str) -> set[str]:
    """The stages of an experiment that a table reads, and the last."""
    rows = [(row, table) for table in TABLES.values() for row in table.rows if row.experiment == name]
    return {"finetune"} | {row.stage or cell.stage for row, table in rows for cell in table.columns.values()}


def read_cell(cell: Cell, row: Row, result: Mapping[str, Any]) -> tuple[float, tuple[float, float] | None] | None:
    """Read a number and its interval out of what is known of a run; None if it is not known.

    Args:
      result: stage -> split -> "scores" and "intervals" -> task -> metric.
    """
    judged = result["stages"].get(row.stage or cell.stage, {}).get(cell.split)
    if judged is None:
        return None
    if cell.metric == "mean3":
        return judged["mean"], judged["mean_interval"]
    task = cell.task or next(iter(judged["scores"]))
    if task not in judged["scores"]:
        return None
    value, interval = judged["scores"][task][cell.metric], judged["intervals"].get(task, {}).get(cell.metric)
    if cell.entry is not None:
        value, interval = value[cell.entry], interval[cell.entry] if interval else None
    return value, interval
