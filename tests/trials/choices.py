"""Which checkpoints are kept and which is taken, whatever the scores and the clocks say (T12, T13)."""

import os
import random
from pathlib import Path

import numpy as np

from tests.trials.faults import FAULT
from tests.trials.harness import Outcome, Trial
from tests.trials.runs import SmallRun


def retention(quick: bool, folder: Path) -> Outcome:
    """The newest two checkpoints and the best are there after every save, whatever the scores are."""
    from train.runs.checkpoint import Checkpoints

    outcome, rng = Outcome(), random.Random(0)
    for number in range(2 if quick else 20):
        directory = folder / str(number)
        checkpoints, scores = Checkpoints(directory, "a run"), {}
        for step in np.cumsum([rng.choice([1, 5, 90, 911]) for _ in range(12)]).tolist():
            checkpoints.save(_state(step), {})
            kind = rng.choice(["score", "score", "NaN", "Inf", "none", "equal"])
            if kind != "none":
                score = {"NaN": float("nan"), "Inf": float("inf"), "equal": 0.5}.get(kind, rng.uniform(-1, 1))
                scores[step] = score
                checkpoints.record_score(step, score)
            checkpoints.wait()
            outcome.n += 1
            outcome.exposure[kind] += 1
            finite = {step: score for step, score in scores.items() if np.isfinite(score)}
            best = max(finite, key=lambda step: (finite[step], step), default=step)
            there = checkpoints.steps()
            taken, _ = checkpoints.restore_params("best", _state(0).params)
            outcome.check(step in there and best in there, f"run {number}: {best} or {step} is not in {there}")
            outcome.check(taken == best, f"run {number}: {taken} was taken for the best, not {best}")
            outcome.check(len(there) <= 3, f"run {number}: more than three are kept: {there}")
            outcome.exposure["the best is old"] += best not in there[-2:]
        checkpoints.close()
    outcome.require("the best is old", 5)
    outcome.require("NaN", 3)
    return outcome


def _state(step: int):
    from train.step import TrainState

    return TrainState(np.int32(step), {"bert": {"x": np.full((4, 3), step, np.float32)}}, {"bert": np.zeros(2)})  # type: ignore[arg-type]


def clocks(quick: bool, folder: Path) -> Outcome:
    """File times reversed, equal or in the future, and a clock set back or forward: the same checkpoint."""
    from train.runs.checkpoint import Checkpoints

    outcome, rng = Outcome(), random.Random(0)
    checkpoints = Checkpoints(folder / "checkpoints", "a run")
    for step in (9, 10, 100):  # in another order as text
        checkpoints.save(_state(step), {})
        checkpoints.wait()
    there = checkpoints.steps()
    for case in range(20 if quick else 100):
        times = {0: [5, 4, 3], 1: [7, 7, 7], 2: [2**33, 2**32, 1]}.get(case, rng.choices(range(2**31), k=3))
        for step, seconds in zip(there, times, strict=False):
            for path in [folder / "checkpoints" / str(step), *(folder / "checkpoints" / str(step)).rglob("*")]:
                os.utime(path, (seconds, seconds))
        outcome.n += 1
        outcome.exposure["the newest file is not the newest step"] += times[len(there) - 1] < max(times[: len(there)])
        restored = checkpoints.restore_latest(_state(0))
        outcome.check(restored is not None and int(restored[0].step) == 100, f"times {times}: not step 100")
    checkpoints.close()
    outcome.require("the newest file is not the newest step", 5 if quick else 40)
    if quick:
        return outcome
    whole = SmallRun(folder / "whole", folder / "cache")
    outcome.check((ended := whole.finish()).code == 0, str(ended))
    wanted = whole.result()
    for offset in (-3600, 3600, -1e9):
        outcome.n += 1
        small = SmallRun(folder / f"clock{offset}", folder / "cache")
        small.finish("--max_steps=20", env=small.env | {FAULT: f"clock:{offset}"})
        ended = small.finish(env=small.env | {FAULT: f"clock:{-offset}"})
        if outcome.check(ended.code == 0 and "going on after 20" in ended.out, f"clock {offset}: {ended}"):
            result = small.result()
            outcome.check(result["state"] == wanted["state"], f"clock {offset}: another state")
    return outcome


TRIALS = (
    Trial("T12", "the newest two checkpoints and the best are always there", retention,
          ("undefined_is_the_best", "best_not_kept")),
    Trial("T13", "which checkpoint is newest does not depend on clocks", clocks, ("newest_by_file_time",)),
)  # fmt: skip
