"""An experiment of the paper: a recipe's run, trained, judged, and kept as a result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_jax.cli.interrupt import Interrupt
from bert_jax.cli.settings import flat
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import find_file
from bert_jax.definition import find_tasks
from bert_jax.errors import InputError
from bert_jax.files import read_json, write_atomically
from bert_jax.tasks import Split
from bert_jax.weights.folder import HEADS_FILE, find_weights
from train.config import MAY_CHANGE, SAME_CONTENT, TrainConfig
from train.inputs import SPLITS, find_source, read_examples
from train.resolve import RunConfig
from train.runs.log import dev_entries, without_nan
from train.stages import resolve_stages, run_stages, start_config

if TYPE_CHECKING:
    from train.devices.programs import Programs
    from train.runs.finished import FinishedRun

EVAL_BATCH = 32  # examples


def train_flags(config: TrainConfig) -> list[str]:
    """The flags of `train.main` that mean these settings."""
    start = flat(start_config(config.experiment.recipe))
    changed = {name: value for name, value in flat(config).items() if value != start[name]}
    return [f"--recipe={config.experiment.recipe}", *(f"--{name}={value}" for name, value in changed.items())]


def identify(config: TrainConfig) -> dict[str, Any]:
    """What makes a result this result: the settings of each stage, and the SHA-256 of each file that is read."""
    stages = [stage_settings(stage) for stage in resolve_stages(config)]
    source, tasks = config.tables.data_dir or SAMPLE, find_tasks(config.tables.tasks)
    paths = [find_file(source, task, split) for task in tasks for split in SPLITS]
    if config.start.init:
        folder = find_weights(config.start.init)
        paths += [folder / "model.safetensors", *folder.glob(HEADS_FILE)]
    return {"stages": stages, "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}}


def stage_settings(stage: RunConfig) -> dict[str, Any]:
    """What makes a stage compute what it does: its epochs, and its settings where they are not the defaults."""
    return of_settings(flat(stage))


def of_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same of recorded settings. So a setting that is new since then makes no other run of it."""
    default = flat(TrainConfig())
    left_out = MAY_CHANGE - {"epochs"} | SAME_CONTENT
    return {k: v for k, v in values.items() if k not in left_out and (k not in default or v != default[k])}


def find_result(path: Path, config: TrainConfig) -> dict[str, Any] | None:
    """Read a result that was written before, if it is that of a run with these settings and files.

    Raises:
      InputError: the file holds something else.
    """
    try:
        result = read_json(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path}: {error}; delete it") from None
    return result if result.get("identity") == identify(config) else None


def write_result(path: Path, config: TrainConfig, judged: dict[str, Any]) -> dict[str, Any]:
    """Keeps what is known of a finished run in a file, and returns it as it will be read."""
    result = without_nan({"identity": identify(config), **judged})
    write_atomically(path, json.dumps(result, indent=1) + "\n")
    return result


def same_runs(configs: Mapping[str, TrainConfig]) -> list[tuple[list[str], TrainConfig]]:
    """Experiments that are one and the same run under several names, together; in the order given."""
    found: dict[str, tuple[list[str], TrainConfig]] = {}
    for name, config in configs.items():
        found.setdefault(json.dumps(identify(config), sort_keys=True), ([], config))[0].append(name)
    return list(found.values())


def train_run(config: TrainConfig, runs_dir: Path, interrupt: Interrupt, programs: Programs) -> None:
    """Train a run to its end, or go on with it; what it says goes to a file beside its folder.

    Raises:
      Interrupted: a signal came; the run has saved its state.
      UserError: it failed.
    """
    stages, log = resolve_stages(config), Path(f"{config.run.run_dir}.log")
    share_stages(stages, runs_dir)
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        run_stages(stages, interrupt, programs)


def share_stages(stages: Sequence[RunConfig], runs_dir: Path) -> None:
    """Copy the stages that another run has in common with this one from its beginning, and has finished.

    A stage is a pure function of its settings and what it starts from, so its bytes would be the same. That
    it fits is checked again when the run starts.
    """
    for other in sorted(runs_dir.glob("*/")):
        for stage in stages[:-1]:
            here = stage.run.run_dir
            there = other / here.name
            if not (there / "model").exists() or read_settings_of(there) != stage_settings(stage):
                break
            if not here.exists():
                copy = Path(f"{here.parent}.copy")
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(there, copy)
                here.parent.mkdir(exist_ok=True)
                copy.rename(here)


def read_settings_of(stage: Path) -> dict[str, Any] | None:
    """The settings that a stage's folder was made with, as `stage_settings` gives them."""
    try:
        return of_settings(read_json(stage / "config.json")["config"])
    except (OSError, ValueError, KeyError):
        return None


def judge_run(
    config: TrainConfig, modes: Collection[str], resamples: int, interrupt: Interrupt, programs: Programs
) -> dict[str, Any]:
    """Tell how a run's stages went, and score some of them on dev, the last one on train as well.

    Args:
      modes: of the stages that are scored, at their best checkpoints.
      resamples: draws that the intervals are made of.
    """
    import jax

    from train.runs.finished import restore_run

    stages = resolve_stages(config)
    judged: dict[str, Any] = {}
    for stage in stages:
        told: dict[str, Any] = {name: getattr(stage.training, name) for name in ("epochs", "lr", "batch_size")}
        entries = dev_entries(stage.run.run_dir / "metrics.jsonl")
        told["curve"] = [{"epoch": entry["epoch"], "dev": entry["dev"]} for entry in entries]
        if stage.training.mode in modes:
            run = restore_run(stage.run.run_dir, "best", programs)
            splits: tuple[Split, ...] = ("dev", "train") if stage is stages[-1] else ("dev",)
            told |= {split: judge_split(run, stage, split, resamples, interrupt) for split in splits}
        judged[stage.training.mode] = told
    command = " ".join(["python -m train.main", *train_flags(config)])
    machine = f"{jax.device_count()} x {jax.devices()[0].device_kind}, {os.cpu_count()} cores, {platform.machine()}"
    versions = {"python": platform.python_version(), "jax": jax.__version__}
    return {"command": command, "machine": machine, "versions": versions, "stages": judged}


def judge_split(
    run: FinishedRun, stage: RunConfig, split: Split, resamples: int, interrupt: Interrupt
) -> dict[str, Any]:
    """Score a checkpoint on one split: scores, their intervals on dev, and confusion matrices."""
    import numpy as np

    from eval.metrics import bootstrap, confusion, interval, score_task

    scores, intervals, matrices, drawn = {}, {}, {}, []
    for task in run.tasks:
        encoded = run.encode(read_examples(stage.tables, find_source(stage.tables), task, split).examples)
        outputs = run.predict(task, encoded, EVAL_BATCH, interrupt.check)
        scores[task.name] = score_task(task, outputs, encoded.labels)
        if not task.is_masked_lm:
            matrices[task.name] = confusion(task, outputs, encoded.labels).tolist()
        if split == "dev":
            draws = bootstrap(task, outputs, encoded.labels, resamples)
            intervals[task.name] = {name: interval(values) for name, values in draws.items()}
            drawn.append(draws[task.metric])
    mean = float(np.mean([scores[task.name][task.metric] for task in run.tasks]))
    means = {"mean": mean, "mean_interval": interval(np.mean(drawn, axis=0)) if drawn else None}
    return {"step": run.step, "scores": scores, "intervals": intervals, **means, "confusion": matrices}
