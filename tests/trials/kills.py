"""Processes that are killed or asked to stop, and started again (T1, T3), or never disturbed (T5)."""

import concurrent.futures
import random
import signal
import time
from collections import Counter
from pathlib import Path

from tests.trials.faults import Watch
from tests.trials.harness import Outcome, Trial, run, start
from tests.trials.runs import TEXTS, SmallRun, compile_programs, compiling_once, differences

PROMISED_SECONDS = 10  # from a signal to the end of the process


def killed_at_random(quick: bool, folder: Path) -> Outcome:
    """kill -9 one to three times a run, and the same command again, until it ends by itself."""
    outcome = Outcome()
    if not (folder / "cache").exists():
        compile_programs(folder / "cache")
    whole = SmallRun(folder / "whole", folder / "cache")
    process = whole.start()
    whole.watch.wait_for("update", process)
    began = time.monotonic()
    process.communicate()
    seconds, wanted = time.monotonic() - began, whole.result()

    # A run alone is killed when it has saved some of its 30 times: at any time it might not have begun, or have ended.
    begins, latest = ("saved", 8) if quick else ("update", 1)

    def one(number: int) -> Counter[str]:
        rng, exposure = random.Random(number), Counter[str]()
        small = SmallRun(folder / f"run-{number}", folder / "cache")
        for _ in range(rng.randint(1, 3)):
            before = small.watch.lines()
            process = small.start()
            small.watch.wait_for(begins, process, times=before.count(begins) + rng.randint(1, latest))
            time.sleep(rng.uniform(0, 0.2 if quick else seconds))
            process.kill()
            out, _ = process.communicate()
            said = small.watch.lines()[len(before) :]
            exposure["kills"] += process.returncode == -signal.SIGKILL
            inside = said.count("save") > said.count("saved")
            exposure["kills inside a save"] += process.returncode == -signal.SIGKILL and inside
            exposure["resumed after update 0"] += "going on after" in out
        ended = small.finish()
        exposure["resumed after update 0"] += "going on after" in ended.out
        if outcome.check(ended.code == 0, f"run {number}: {ended}"):
            differing = differences(wanted, small.result())
            outcome.check(not differing, f"run {number}: other {differing} than the undisturbed run's")
        return exposure

    outcome.n = 1 if quick else 20
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for exposure in pool.map(one, range(outcome.n)):
            outcome.exposure.update(exposure)
    outcome.require("kills", 1 if quick else 15)
    outcome.require("resumed after update 0", 1 if quick else 15)
    outcome.require("kills inside a save", 0 if quick else 8)
    return outcome


def asked_to_stop(quick: bool, folder: Path) -> Outcome:
    """SIGTERM and SIGINT in every phase: saved within seconds, code 75, and the same result in the end."""
    outcome = Outcome()
    moments = (("trace", 1), ("update", 25), ("save", 2), ("predict", 1), ("predict", 4))
    cases = [(signum, moment, times) for moment, times in moments for signum in (signal.SIGTERM, signal.SIGINT)]
    whole, wanted = _undisturbed(folder / "whole", (), outcome)
    for case in [cases[2], cases[7]] if quick else cases:
        _stop_run(folder, (), case, wanted, outcome)
    for signum in (signal.SIGINT,) if quick else (signal.SIGTERM, signal.SIGINT):
        _stop_prediction(whole, signum, folder, outcome)
    outcome.check(whole.predict().out == wanted["predictions"], "predictions are others after one was stopped")
    if not quick:
        masked_lm = ("--mode=mlm", "--max_steps=20")
        _, wanted = _undisturbed(folder / "masked", masked_lm, outcome)
        for case in ((signal.SIGTERM, "update", 9), (signal.SIGINT, "predict", 1)):
            _stop_run(folder, masked_lm, case, wanted, outcome)
    outcome.require("signals acted on", 3 if quick else 14)
    outcome.require("resumed after update 0", 2 if quick else 10)
    return outcome


def _undisturbed(folder: Path, flags: tuple[str, ...], outcome: Outcome) -> tuple[SmallRun, dict[str, str]]:
    whole = SmallRun(folder, folder.parent / "cache", flags)
    outcome.check((ended := whole.finish()).code == 0, f"undisturbed: {ended}")
    return whole, whole.result()


def _stop_run(
    folder: Path, flags: tuple[str, ...], case: tuple[signal.Signals, str, int], wanted: dict[str, str],
    outcome: Outcome,
) -> None:  # fmt: skip
    """Asks a run to stop when it has come to some moment so many times, and starts it again."""
    signum, moment, times = case
    name = " ".join((signum.name, "at", moment, str(times), *flags))
    # Compiling anew where the signal is to come while that happens.
    cache = folder / f"cache {name}" if moment == "trace" else folder / "cache"
    small = SmallRun(folder / name, cache, flags)
    process = small.start()
    if not outcome.check(small.watch.wait_for(moment, process, times), f"{name}: never came"):
        process.kill()
        return
    _ask(process, signum, name, outcome)
    ended = small.finish()
    outcome.exposure["resumed after update 0"] += "going on after" in ended.out
    if outcome.check(ended.code == 0, f"{name}, started again: {ended}"):
        differing = differences(wanted, small.result())
        outcome.check(not differing, f"{name}: other {differing} than the undisturbed run's")


def _ask(process, signum: signal.Signals, name: str, outcome: Outcome) -> str:
    """Sends a signal and checks how the process ends; returns what it printed."""
    outcome.n += 1
    began = time.monotonic()
    process.send_signal(signum)
    out, err = process.communicate(timeout=120)
    seconds = time.monotonic() - began
    outcome.exposure["signals acted on"] += process.returncode == 75
    said = err.strip().splitlines()[-1:] or [""]
    good = process.returncode == 75 and said[0].startswith(f"error: {signum.name}") and seconds < PROMISED_SECONDS
    outcome.check(good, f"{name}: exit {process.returncode} after {seconds:.1f} s, {said[0]!r}")
    return out


def _stop_prediction(whole: SmallRun, signum: signal.Signals, folder: Path, outcome: Outcome) -> None:
    """A prediction that is stopped prints nothing rather than a part."""
    watch = Watch(folder / f"predict-{signum.name}")
    texts = folder / "texts"
    texts.write_text(TEXTS * 2000)
    with texts.open() as stdin:
        process = start(
            "eval.predict", f"--run_dir={whole.path}", "--task=sst", stdin=stdin,
            env=compiling_once(whole.cache, **watch.environment),
        )  # fmt: skip
    if outcome.check(watch.wait_for("predict", process), f"{signum.name}: no prediction began"):
        out = _ask(process, signum, f"{signum.name} while predicting", outcome)
        outcome.check(out == "", f"{signum.name} while predicting: a part was printed")


def twice(quick: bool, folder: Path) -> Outcome:
    """Two processes with the same seed, of which one compiles: the same bytes in everything but the seconds."""
    outcome = Outcome(n=1 if quick else 5)
    length = ("--epochs=1",) if quick else ()
    states = set()
    for seed in range(outcome.n):
        results = []
        for number in range(2):
            small = SmallRun(folder / f"{seed}-{number}", folder / "cache", (f"--seed={seed}", *length))
            ended = small.finish()
            if not outcome.check(ended.code == 0, f"seed {seed}: {ended}"):
                return outcome
            report = run("eval.main", f"--run_dir={small.path}", env=compiling_once(folder / "cache"))
            text = report.out.replace(str(small.path), "RUN")
            results.append(small.result() | {"report": text if report.code == 0 else str(report)})
        differing = differences(*results)
        outcome.check(not differing, f"seed {seed}: two runs differ in {differing}")
        states.add(results[0]["state"])
    outcome.exposure["different states among seeds"] = len(states)
    outcome.require("different states among seeds", outcome.n)
    return outcome


TRIALS = (
    Trial("T1", "a run killed at any time ends, started again, in the same bytes", killed_at_random,
          ("optimizer_not_restored", "counters_not_restored"), seconds=90, compiled=True),
    Trial("T3", "a signal is acted on within 10 s in every phase, with code 75 and the same bytes in the end",
          asked_to_stop, ("signals_not_heard", "evaluation_counts_as_done"), seconds=100, compiled=True),
    Trial("T5", "two processes with the same seed give the same bytes", twice, ("dropout_from_the_clock",), seconds=60),
)  # fmt: skip
