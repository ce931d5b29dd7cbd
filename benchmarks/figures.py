"""What measured seconds come to: ratios, shares of the machine, and whether a goal is reached."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.cases import HIGHER, RIVALS, Case
from benchmarks.measure import Measured


class Summary(NamedTuple):
    """Some measurements of one thing."""

    median: float
    low: float
    high: float


def summarize(values: Sequence[float]) -> Summary:
    """Median, smallest and largest."""
    return Summary(statistics.median(values), min(values), max(values))


def amount(measured: Measured, side: str) -> dict[str, float]:
    """What one run of a side is."""
    return measured.amounts["ours" if side == "ours" else RIVALS[side].batches]


def example_seconds(measured: Measured, side: str) -> list[float]:
    """Seconds an example, of each run: the rival's batches may hold other examples, and another number of them."""
    return [seconds / amount(measured, side)["examples"] for seconds in measured.seconds[side]]


def ratios(measured: Measured, rival: str) -> list[float]:
    """How many times as fast as the rival we are, of each pair of runs."""
    pairs = zip(example_seconds(measured, rival), example_seconds(measured, "ours"), strict=True)
    return [theirs / ours for theirs, ours in pairs]


def ceiling(measured: Measured) -> float:
    """FLOP/s that the machine can do in the work's type: the best product of all, whoever made it."""
    return max(max(values) for values in measured.ceilings.values())


def shares(measured: Measured, side: str) -> list[float]:
    """Share of the ceiling that the useful arithmetic of each run makes up."""
    flops = amount(measured, side)["flops"]
    return [flops / seconds / ceiling(measured) for seconds in measured.seconds[side]]


def figure_of(case: Case, measured: Measured) -> Summary | None:
    """The figure that a case asks for; None if it is of a rival that did not run."""
    if case.figure in measured.compiled:
        return summarize(measured.compiled[case.figure])
    if case.figure == "ratio":
        return summarize(ratios(measured, case.against)) if case.against in measured.seconds else None
    if case.figure == "share":
        return summarize(shares(measured, "ours"))
    seconds = measured.seconds["ours"]
    return summarize(
        seconds if case.figure == "run" else [1e3 * s / amount(measured, "ours")["batches"] for s in seconds]
    )


def is_reached(case: Case, figure: Summary) -> bool:
    """Whether the median is as good as the goal."""
    return figure.median >= case.goal if case.figure in HIGHER else figure.median <= case.goal
