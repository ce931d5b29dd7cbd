"""The learning curves of a run as a picture: each task's training loss and dev score against updates."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
}
ABOVE, HEIGHT, BELOW = 0.3, 2.2, 0.5  # inches
LOSS, SCORE, BEST = "#d9730d", "#0b6e99", "#9b9b9b"


class Curves(Figure):
    """A figure that a notebook shows below its cell, whatever backend matplotlib has."""

    def _repr_png_(self) -> bytes:
        return as_png(self)


def draw_run(entries: Sequence[Mapping[str, Any]], metrics: Mapping[str, str]) -> Figure:
    """A row a task: left its loss, each point a mean over the updates since the one before, right its score on dev.

    Args:
      entries: the lines of a run's log.
      metrics: of each task, the name of the score that is shown.
    """
    judged = [entry for entry in entries if "dev" in entry]
    best = max(judged, key=lambda entry: (_or(entry["score"], -2), entry["step"]), default=None)
    last = max((entry["step"] for entry in entries), default=1)
    height = ABOVE + HEIGHT * len(metrics) + BELOW
    margins = {"left": 0.065, "right": 0.985, "top": 1 - ABOVE / height, "bottom": BELOW / height}
    spaces = {"wspace": 0.16, "hspace": 0.3}
    with matplotlib.rc_context(STYLE):
        figure = Curves(figsize=(8, height))  # to have the margins found would take as long again as drawing
        grid = figure.subplots(len(metrics), 2, sharex=True, squeeze=False, gridspec_kw={**margins, **spaces})
        for (left, right), (task, metric) in zip(grid, metrics.items(), strict=True):
            losses = [(entry["step"], _or(entry["loss"][task])) for entry in entries if task in entry.get("loss", ())]
            scores = [(entry["step"], _or(entry["dev"][task][metric])) for entry in judged if task in entry["dev"]]
            _plot(left, losses, f"{task}, train loss", LOSS)
            _plot(right, scores, f"{task}, dev {metric.replace('pearson', 'Pearson')}", SCORE)
            left.set_xlim(0, last * 1.02)
            if best:
                right.axvline(best["step"], color=BEST, linewidth=0.8, linestyle="--")
        grid[-1][0].set_xlabel("updates")
        grid[-1][1].set_xlabel("updates" + (" (dashed: the best checkpoint)" if best else ""))
    return figure


def as_png(figure: Figure) -> bytes:
    """The picture as a file. The same figure gives the same bytes, with the same matplotlib."""
    picture = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})
    return picture.getvalue()


def _plot(axes: Axes, points: Sequence[tuple[int, float]], title: str, color: str) -> None:
    axes.plot([step for step, _ in points], [value for _, value in points], ".-", color=color)
    axes.set_title(title, loc="left", fontsize=9)
    if not points:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=BEST)


def _or(value: float | None, otherwise: float = float("nan")) -> float:
    """The log has null for what is not a number."""
    return otherwise if value is None else value
