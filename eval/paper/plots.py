"""The pictures of the report, as matplotlib draws them: the size study and the learning curves."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bert_jax.tasks import TASKS
from eval import curves
from eval.paper.comparison import Point
from eval.paper.published import SUITED

# With the salt the same picture has the same bytes.
STYLE: Any = {**curves.STYLE, "font.size": 10, "svg.hashsalt": "bert-jax", "svg.fonttype": "path"}
COLORS = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#787774", "#ad1a72")
STROKES = {"": "-", SUITED: "--"}


def draw_size_study(points: Sequence[Point], note: str) -> Figure:
    """Draw, left, the paper's Figure 1: the difference in F1 against the share; right, both F1s with intervals."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        shares = [point.share for point in points]
        gaps = np.array([point.difference for point in points], float)  # with NaN for None
        left.plot(shares, gaps, marker="o", color=COLORS[0])
        left.axhline(0, color="#787774", linewidth=0.8)
        left.set_ylabel("F1, in turn minus MT-DNN")
        for name, label, color in (("in_turn", "in turn", COLORS[0]), ("mtdnn", "MT-DNN", COLORS[1])):
            numbers = [getattr(point, name) for point in points]
            values = np.array([number.ours for number in numbers], float)
            low, high = np.array([number.interval or [number.ours] * 2 for number in numbers], float).T
            around = np.fmax(0, [values - low, high - values])
            right.errorbar(shares, values, yerr=around, marker="o", capsize=3, color=color, label=label)
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
    """Draw the dev score of each task after each epoch, a panel a task, a line a run; heads alone, then everything."""
    stages = [stage for result in results.values() for stage in result["stages"].values()]
    scored = {task for stage in stages for entry in stage["curve"] for task in entry["dev"]}
    tasks = [task for task in TASKS if task in scored]
    recipes = list(dict.fromkeys(name.split("-")[0] for name in results))
    lines = {}
    with plt.rc_context(STYLE):
        columns = min(2, len(tasks))
        rows = -(-len(tasks) // columns)
        figure, grid = plt.subplots(rows, columns, figsize=(9, 3.3 * rows), layout="constrained", squeeze=False)
        for axes, task in zip(grid.flat, tasks, strict=False):
            for name, result in results.items():
                epochs, scores, border = read_curve(result, task)
                if epochs:
                    recipe, _, more = name.partition("-")  # a recipe has a color, its variants another stroke
                    color, stroke = COLORS[recipes.index(recipe) % len(COLORS)], STROKES.get(more, ":")
                    (lines[name],) = axes.plot(epochs, scores, stroke, marker=".", color=color, label=name)
                    axes.axvline(border + 0.5, color="#bbbbbb", linewidth=0.8, linestyle="--")
            axes.set_title(task, loc="left", fontsize=10)
            score = TASKS[task].metric.replace("pearson", "Pearson")
            axes.set(ylabel=f"{score} on dev", xlabel="epoch (left of the dashed line: heads alone)")
            axes.xaxis.get_major_locator().set_params(integer=True)
        for axes in grid.flat[len(tasks) :]:
            axes.remove()
        figure.legend(handles=list(lines.values()), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def read_curve(result: Mapping[str, Any], task: str) -> tuple[list[int], np.ndarray, int]:
    """Read a run's curve of a task: epochs, counted on through its stages, the scores, and where the last begins."""
    epochs, scores, before, border = [], [], 0, 0
    for mode, stage in result["stages"].items():
        if mode != "mlm":
            shown = [entry for entry in stage["curve"] if task in entry["dev"]]
            epochs += [before + entry["epoch"] for entry in shown]
            scores += [entry["dev"][task][TASKS[task].metric] for entry in shown]
            before, border = before + stage["epochs"], before
    return epochs, np.array(scores, float), border


def as_svg(figure: Figure) -> str:
    """Draw the picture as an SVG element for a page."""
    text = io.StringIO()
    with plt.rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return "<svg" + text.getvalue().partition("<svg")[2]


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg, and return the two."""
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    with plt.rc_context(STYLE):
        figure.savefig(png, dpi=150)
        figure.savefig(svg, metadata={"Date": None})
    return [png, svg]
