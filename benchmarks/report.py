"""What was measured, as tables for a terminal and as JSON."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.cases import FIGURES, Case, Work, side_title
from benchmarks.figures import (
    Summary,
    amount,
    ceiling,
    example_seconds,
    figure_of,
    is_reached,
    ratios,
    shares,
    summarize,
)
from benchmarks.measure import Measured
from bert_jax.errors import StorageError
from eval.report import new_table


def show(summary: Summary) -> tuple[str, str]:
    """The median; the smallest and the largest."""
    return f"{summary.median:,.2f}", f"{summary.low:,.2f} to {summary.high:,.2f}"


def print_measured(measured: Measured) -> None:
    """Prints both sides' speeds of one piece of work."""
    console = Console()
    if measured.compiled:
        table = new_table(f"{measured.work}", "trace and compile", "seconds", "min to max")
        for state in ("cold", "warm"):
            table.add_row(state, *show(summarize(measured.compiled[state])))
        console.print(table)
        return
    table = new_table(
        f"{measured.work}", "side", "ms a step", "examples/s", "of ceiling", "filled", "ratio", "min to max"
    )
    for side in measured.seconds:
        done, seconds = amount(measured, side), summarize(example_seconds(measured, side))
        table.add_row(
            side_title(side),
            f"{1e3 * seconds.median * measured.work.examples:,.1f}",
            f"{1 / seconds.median:,.1f}",
            f"{summarize(shares(measured, side)).median:.0%}",
            f"{done['tokens'] / done['computed']:.0%}",
            *(("", "") if side == "ours" else show(summarize(ratios(measured, side)))),
        )
    console.print(table)
    done = amount(measured, "ours")
    products = ", ".join(f"{side} {max(found) / 1e9:,.0f} GFLOP/s" for side, found in measured.ceilings.items())
    said = [f"matmul ceiling: {products}"]
    if done["batches"] < done["of"]:
        said.insert(0, f"{done['batches']:,} of {done['of']:,} batches, evenly spread by length")
    if measured.differences:
        found = ", ".join(f"{dtype} {value:.1e}" for dtype, value in measured.differences.items())
        said.append(f"losses differ by at most: {found}")
    print("; ".join(said) + "\n", flush=True)


def print_goals(cases: Sequence[Case], results: Mapping[Work, Measured]) -> None:
    """Prints each case's goal and what it came to."""
    table = new_table("goals", "case", "model", "type", "figure", "goal", "median", "min to max", "reached")
    for case in cases:
        figure = figure_of(case, results[case.work]) if case.work in results else None
        got = ["", "", ""]
        if figure:
            got = [*show(figure), "yes" if is_reached(case, figure) else "no"]
        table.add_row(case.name, case.work.model, case.work.dtype, FIGURES[case.figure], f"{case.goal:g}", *got)
    Console().print(table)


def write_json(path: Path, about: dict[str, Any], cases: Sequence[Case], results: Mapping[Work, Measured]) -> None:
    """Writes everything that was measured, and the cases as they stand.

    Raises:
      StorageError: it cannot be written.
    """
    judged = []
    for case in cases:
        figure = figure_of(case, results[case.work]) if case.work in results else None
        judged.append(
            dataclasses.asdict(case)
            | {"unit": FIGURES[case.figure], "got": figure._asdict() if figure else None}
            | {"reached": is_reached(case, figure) if figure else None}
        )
    measured = [_with_figures(each) for each in results.values()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**about, "cases": judged, "measured": measured}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from None


def _with_figures(measured: Measured) -> dict[str, Any]:
    rivals = [side for side in measured.seconds if side != "ours"]
    derived = {
        "ratios": {side: summarize(ratios(measured, side))._asdict() for side in rivals},
        "shares": {side: summarize(shares(measured, side))._asdict() for side in measured.seconds},
        "ceiling": ceiling(measured) if measured.ceilings else None,
    }
    return dataclasses.asdict(measured) | derived
