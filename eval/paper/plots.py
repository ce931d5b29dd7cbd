"""The pictures of the report, as matplotlib draws them: the size study and the learning curves."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bert_jax.tasks import TASKS
from eval import curves
from eval.paper.comparison import Point
from eval.paper.published import SUITED

STYLE: Any = {
    **curves.STYLE,
    "font.size": 10,
    "svg.hashsalt": "bert-jax",  # the same picture has the same bytes
    "svg.fonttype": "path",
}
COLORS = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#787774", "#ad1a72")
STROKES = {"": "-", SUITED: "--"}


def draw_size_study(points: Sequence[Point], note: str) -> Figure:
    """Left, the paper's Figure 1: the difference in F1 against the share; right, both F1s with their intervals."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        shares = [point.share for point in points]
        gaps = [point.difference if point.difference is not None else float("nan") for point in points]
        left.plot(shares, gaps, marker="o", color=COLORS[0])
        left.axhline(0, color="#787774", linewidth=0.8)
        left.set_ylabel("F1, in turn minus MT-DNN")
        for name, label, color in (("in_turn", "in turn", COLORS[0]), ("mtdnn", "MT-DNN", COLORS[1])):
            numbers = [getattr(point, name) for point in points]
            values = [number.ours if number.ours is not None else float("nan") for number in numbers]
            spread = [number.interval or (value, value) for number, value in zip(numbers, values, strict=True)]
            below = [max(0.0, value - low) for value, (low, _) in zip(values, spread, strict=True)]
            above = [max(0.0, high - value) for value, (_, high) in zip(values, spread, strict=True)]
            right.errorbar(shares, values, yerr=(below, above), marker="o", capsize=3, color=color, label=label)
        right.set_ylabel("F1 on dev, 95 % interval")
        right.legend(frameon=False)
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xticks(shares, [f"1/{round(1 / share)}" if share < 1 else "all" for share in shares])
            axes.minorticks_off()
            axes.set_xlabel("share of Quora's train table")
        figure.suptitle("Quora's paraphrases" + (f" ({note})" if note else ""), fontsize=11)
    return figure


def draw_curves(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Dev score of each task after each epoch, a panel a task, a line a run; heads alone first, then everything."""
    lines: dict[str, list[tuple[str, list[float], list[float], int]]] = {}
    for name, result in results.items():
        stages = [(mode, stage) for mode, stage in result["stages"].items() if mode != "mlm"]
        for task in {task for _, stage in stages for entry in stage["curve"] for task in entry["dev"]}:
            epochs: list[float] = []
            values: list[float] = []
            before = 0
            for _, stage in stages:
                shown = [entry for entry in stage["curve"] if task in entry["dev"]]
                epochs += [before + entry["epoch"] for entry in shown]
                values += [_or_nan(entry["dev"][task][TASKS[task].metric]) for entry in shown]
                before += stage["epochs"]
            lines.setdefault(task, []).append((name, epochs, values, before - stages[-1][1]["epochs"]))
    tasks = [task for task in TASKS if task in lines]
    with plt.rc_context(STYLE):
        columns = min(2, len(tasks))
        rows = -(-len(tasks) // columns)
        figure, grid = plt.subplots(rows, columns, figsize=(9, 3.3 * rows), layout="constrained", squeeze=False)
        recipes = list(dict.fromkeys(name.split("-")[0] for name in results))
        for axes, task in zip(grid.flat, tasks, strict=False):
            for name, epochs, values, border in lines[task]:
                recipe, _, more = name.partition("-")  # a recipe has a color, its variants another stroke
                color, stroke = COLORS[recipes.index(recipe) % len(COLORS)], STROKES.get(more, ":")
                axes.plot(epochs, values, stroke, marker=".", color=color, label=name)
                axes.axvline(border + 0.5, color="#bbbbbb", linewidth=0.8, linestyle="--")
            axes.set_title(task, loc="left", fontsize=10)
            axes.set_ylabel(f"{TASKS[task].metric.replace('pearson', 'Pearson')} on dev")
            axes.set_xlabel("epoch (left of the dashed line: heads alone)")
            axes.xaxis.get_major_locator().set_params(integer=True)
        for axes in list(grid.flat)[len(tasks) :]:
            axes.remove()
        handles = {
            str(line.get_label()): line for axes in figure.axes for line in axes.lines if line.get_marker() == "."
        }
        figure.legend(
            list(handles.values()), list(handles), loc="outside lower center", ncols=3, frameon=False, fontsize=9
        )
    return figure


def as_svg(figure: Figure) -> str:
    """The picture as an SVG element for a page."""
    text = io.StringIO()
    with plt.rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def save_figure(figure: Figure, stem: Path) -> None:
    """Writes STEM.png and STEM.svg."""
    with plt.rc_context(STYLE):
        figure.savefig(stem.with_suffix(".png"), dpi=150)
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
