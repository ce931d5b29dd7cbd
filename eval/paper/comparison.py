"""The paper's tables filled in: our numbers and their intervals beside what the paper printed."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from eval.paper.published import FIGURE_EPOCHS, TABLES, read_cell, size_study
from eval.report import new_table

Results = Mapping[str, Mapping[str, Any]]  # by the name of the experiment
FULL_EPOCHS = {"mlm": 4, "pretrain": 10, "finetune": 10}  # the paper's masked LM, and the course's starter


@dataclasses.dataclass(frozen=True)
class Number:
    """A cell: our score, its 95 % interval if there is one, and the paper's score if it gives one."""

    ours: float | None
    interval: tuple[float, float] | None
    paper: float | None

    def __str__(self) -> str:
        if self.ours is None:
            return "undefined"
        low, high = self.interval or (None, None)
        digits = 3 if self.ours < 10 else 1
        half = f" ±{(high - low) / 2:.{digits}f}" if low is not None and high is not None else ""
        return f"{self.ours:.{digits}f}{half}"


@dataclasses.dataclass(frozen=True)
class Line:
    """A row of a filled table; `shortened` says which of its stages had fewer epochs than they should have."""

    label: str
    shortened: str
    numbers: tuple[Number, ...]


@dataclasses.dataclass(frozen=True)
class Filled:
    """A table with our numbers in it."""

    number: int
    title: str
    note: str
    headings: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def notes(self) -> list[str]:
        """What stands below it."""
        shortened = sorted({line.shortened for line in self.lines} - {""})
        return [note for note in (self.note, *(f"* shortened: {each}" for each in shortened)) if note]


@dataclasses.dataclass(frozen=True)
class Point:
    """A share of Quora's train table, and the F1 of its paraphrases on dev with each scheduler, with intervals."""

    share: float
    in_turn: Number
    mtdnn: Number

    @property
    def difference(self) -> float | None:
        """In turn minus MT-DNN."""
        if self.in_turn.ours is None or self.mtdnn.ours is None:
            return None
        return self.in_turn.ours - self.mtdnn.ours


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All that was asked for; `figure` has no points where it was not."""

    tables: tuple[Filled, ...]
    figure: tuple[Point, ...]
    figure_shortened: str


def compare(numbers: Sequence[int], shares: Sequence[float], results: Results, figure_epochs: int) -> Comparison:
    """Fills tables, and the figure at some shares, from the results of their runs."""
    points, shortened = [], ""
    for share in shares:
        runs = [results[size_study(s, share, figure_epochs).name] for s in ("in_turn", "mtdnn")]
        judged = [run["stages"]["finetune"]["dev"] for run in runs]
        f1 = [Number(each["scores"]["quora"]["f1"][1], each["intervals"]["quora"]["f1"][1], None) for each in judged]
        points.append(Point(share, *f1))
        shortened = shortened or shortened_stages(runs[0], {"pretrain": FIGURE_EPOCHS, "finetune": FIGURE_EPOCHS})
    return Comparison(tuple(fill_table(number, results) for number in numbers), tuple(points), shortened)


def fill_table(number: int, results: Results) -> Filled:
    """Put the numbers of the runs into a table whose rows are read from them."""
    table, lines = TABLES[number], []
    for row in table.rows:
        result = results[row.experiment]
        found = [read_cell(cell, row, result) or (None, None) for cell in table.columns.values()]
        numbers = [Number(*ours, paper) for ours, paper in zip(found, row.paper, strict=True)]
        lines.append(Line(row.label, shortened_stages(result, FULL_EPOCHS), tuple(numbers)))
    return Filled(number, table.title, table.note, tuple(table.columns), tuple(lines))


def shortened_stages(result: Mapping[str, Any], full: Mapping[str, int]) -> str:
    """Say which stages of a run had fewer epochs than the paper's; nothing if none.

    >>> shortened_stages({"stages": {"finetune": {"epochs": 3}}}, {"finetune": 10})
    'finetune 3 of 10 epochs'
    """
    stages = result["stages"]
    fewer = {mode: epochs for mode, epochs in full.items() if mode in stages and stages[mode]["epochs"] < epochs}
    return ", ".join(f"{mode} {stages[mode]['epochs']} of {epochs} epochs" for mode, epochs in fewer.items())


def print_comparison(comparison: Comparison) -> None:
    """Print each table, our numbers above the paper's, and the figure's points; ± is half of a 95 % interval."""
    console = Console()
    for filled in comparison.tables:
        table = new_table(f"Table {filled.number}. {filled.title}", "", *filled.headings)
        for line in filled.lines:
            table.add_row(line.label + ("*" if line.shortened else ""), *map(str, line.numbers))
            if any(number.paper is not None for number in line.numbers):
                said = ["" if number.paper is None else f"{number.paper:.3f}" for number in line.numbers]
                table.add_row("  the paper", *said, style="dim")
        console.print(table)
        for note in filled.notes:
            print(f" {note}")
    if comparison.figure:
        title = "Figure 1. F1 of Quora's paraphrases on dev"
        table = new_table(title, "share of Quora", "in turn", "MT-DNN", "difference")
        for point in comparison.figure:
            gap = "undefined" if point.difference is None else f"{point.difference:+.3f}"
            table.add_row(f"{point.share:g}", str(point.in_turn), str(point.mtdnn), gap)
        console.print(table)
        if comparison.figure_shortened:
            print(f" * shortened: {comparison.figure_shortened}")


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The same as JSON has it."""
    return dataclasses.asdict(comparison) | {
        "figure": [{**dataclasses.asdict(point), "difference": point.difference} for point in comparison.figure]
    }
