"""`python -m eval.paper`: the paper's tables and figure, ours beside theirs; trains what is missing."""

import dataclasses
import importlib.util
import os
from pathlib import Path
from typing import Any, Literal

from bert_jax.cli.command import run_command
from bert_jax.cli.interrupt import Interrupt
from bert_jax.cli.settings import AT_LEAST_1, Parts, flat, setting, settings_of
from bert_jax.data.sample import SAMPLE
from bert_jax.definition import find_tasks
from bert_jax.errors import InputError
from bert_jax.tasks import COURSE_TASKS
from eval.overlaps import audit_tables
from eval.paper.comparison import compare, print_comparison
from eval.paper.experiment import find_result, judge_run, same_runs, train_run, write_result
from eval.paper.published import FIGURE_EPOCHS, SHARES, TABLES, Experiment, read_stages, wanted_experiments
from train.config import TrainConfig
from train.inputs import read_tables
from train.recipes import RECIPES
from train.resolve import RANDOM
from train.runs.folder import make_folder
from train.stages import resolve_stages, start_config

QUICK_SHARE = 0.25  # of the train tables
RESAMPLES, QUICK_RESAMPLES = 1000, 200  # draws of each interval
SUITED_LR = 3e-5  # the best of three for MiniLM-L6 on SST alone: docs/paper.md


@dataclasses.dataclass(frozen=True)
class Content:
    """What is made."""

    list: bool = False
    """Say what there is, and which runs each table needs."""
    table: str | None = None
    """Tables to make, such as 1 or 1,3."""
    figure: Literal["1"] | None = None
    """Figure to make; there is one."""
    all: bool = False
    """Make all tables and the figure."""
    only: str | None = None
    """Runs to train, by their names in --list, with commas between them. No table is made: several commands can share
    the runs of one, on one machine or on more, and another one makes it of their results."""


@dataclasses.dataclass(frozen=True)
class Training:
    """How the runs are trained."""

    data_dir: Path | None = None
    """Folder with the course's tables. Default: the embedded sample."""
    init: str | None = None
    """Weights to start from, as of train.main. Default: random."""
    quick: bool = False
    """One epoch on a quarter of the train tables: shows that it works, in minutes. Alone it means --all."""
    epochs: int | None = setting(None, range=AT_LEAST_1)
    """Passes over the data in the stages of heads alone and of everything. Default: the recipes'."""
    mlm_epochs: int | None = setting(None, range=AT_LEAST_1)
    """Passes over the texts in masked LM. Default: the recipes'."""
    figure_epochs: int = setting(FIGURE_EPOCHS, range=AT_LEAST_1)
    """Passes over the data in the runs of Figure 1."""
    suited_lr: float | None = None
    """Learning rate of the last stage in the table of rates that suit the weights. Default: 3e-5, or 1e-3 for models
    that start random."""
    seed: int = 11711
    """Seed of every run."""


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where everything is kept."""

    runs_dir: Path = Path("runs/paper")
    """Folder of the runs. Those that are there go on where they stopped."""
    results: Path | None = None
    """Folder of the results of finished runs, one file each. Default: RUNS_DIR/results."""
    output: Path | None = None
    """Folder of paper.json, report.html and the figure. Default: RUNS_DIR/report."""


@dataclasses.dataclass(frozen=True, init=False)
class PaperConfig(Parts):
    """Makes the paper's tables and its figure: trains the runs that are missing, takes those that are finished.

    Without --data_dir it trains tiny models on the embedded sample, which says nothing about the paper.
    """

    content: Content
    training: Training
    folders: Folders


def main(flags: PaperConfig) -> None:
    """Check everything before the first run starts, as that may take hours; then train, compare and report."""
    content, training, folders = flags.content, flags.training, flags.folders
    numbers, figure = chosen(flags)
    if content.list:
        print_list(flags)
        return
    if not content.only and importlib.util.find_spec("matplotlib") is None:
        raise InputError("the report needs matplotlib: pip install matplotlib")
    rate = training.suited_lr or (SUITED_LR if training.init else RANDOM.lr)
    shares = () if not figure else (SHARES[0], SHARES[-1]) if training.quick else SHARES
    wanted = wanted_experiments(numbers, shares, rate, training.figure_epochs)
    configs = only_asked({each.name: train_config(each, flags) for each in wanted}, content.only)
    for config in configs.values():
        read_tables(resolve_stages(config)[-1])
    results_dir, output = folders.results or folders.runs_dir / "results", folders.output or folders.runs_dir / "report"
    for folder in (folders.runs_dir, results_dir, output):
        make_folder(folder)
    results = train_missing(configs, results_dir, flags)
    if content.only:
        for name in results:
            print(f"result: {results_dir / name}.json")
        return
    comparison = compare(numbers, shares, results, training.figure_epochs)
    print_comparison(comparison)
    from eval.paper.page import write_report

    audit = audit_tables(training.data_dir or SAMPLE, tuple(COURSE_TASKS.values()))
    for written in write_report(output, comparison, results, audit, describe(flags)):
        print(f"written: {written}")


def only_asked(configs: dict[str, TrainConfig], only: str | None) -> dict[str, TrainConfig]:
    """The runs that --only names; all without it.

    Raises:
      InputError: one is none of these.
    """
    names = [name.strip() for name in only.split(",")] if only else list(configs)
    for name in names:
        if name not in configs:
            raise InputError(f"--only={name}, but the runs asked for are {', '.join(configs)}")
    return {name: configs[name] for name in configs if name in names}


def train_missing(configs: dict[str, TrainConfig], results_dir: Path, flags: PaperConfig) -> dict[str, dict[str, Any]]:
    """Give the result of each run, by its name; those that are not there yet are trained, judged and kept.

    Raises:
      Interrupted: a signal came; what is trained so far is saved.
    """
    files = {name: results_dir / f"{name}.json" for name in configs}
    results = {name: found for name, config in configs.items() if (found := find_result(files[name], config))}
    missing = {name: config for name, config in configs.items() if name not in results}
    print(f"{len(configs)} runs, {len(results)} of them finished", flush=True)
    if not missing:
        return results
    if flags.training.quick:  # runs as short as these are sooner done if they are compiled fast rather than well
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    resamples = QUICK_RESAMPLES if flags.training.quick else RESAMPLES
    from train.devices.programs import Programs

    programs = Programs()
    with Interrupt() as interrupt:
        for names, config in same_runs(missing):
            number, log = len(results) + 1, f"{config.run.run_dir}.log"
            print(f"{number} of {len(configs)}  {', '.join(names)}  (see {log})", flush=True)
            train_run(config, flags.folders.runs_dir, interrupt, programs)
            judged = judge_run(config, set().union(*map(read_stages, names)), resamples, interrupt, programs)
            results |= {name: write_result(files[name], config, judged) for name in names}
    return {name: results[name] for name in configs}


def chosen(flags: PaperConfig) -> tuple[list[int], bool]:
    """Say which tables, and whether the figure, are asked for.

    Raises:
      InputError: none is, or one that does not exist.
    """
    content, training = flags.content, flags.training
    nothing_named = not content.table and not content.figure
    if content.all or content.list or (nothing_named and (training.quick or content.only)):
        return list(TABLES), True
    try:
        numbers = [int(part) for part in content.table.split(",")] if content.table else []
    except ValueError:
        numbers = [0]
    if any(number not in TABLES for number in numbers):
        raise InputError(f"--table={content.table}, but there are tables 1 to {len(TABLES)}; see --list")
    if nothing_named:
        raise InputError("nothing is asked for: --table=N, --figure=1, --all, --quick or --list")
    return numbers, content.figure is not None


def print_list(flags: PaperConfig) -> None:
    """What can be made, and which runs it takes."""
    for number, table in TABLES.items():
        print(f"table {number}   {table.title}")
        print("          " + ", ".join(dict.fromkeys(row.experiment for row in table.rows)))
    print("figure 1  F1 of Quora on dev, in turn minus MT-DNN, against the share of Quora's train table")
    study = wanted_experiments([], SHARES, SUITED_LR, flags.training.figure_epochs)
    print("          " + ", ".join(experiment.name for experiment in study))
    print("recipes")
    for name, recipe in RECIPES.items():
        print(f"          {name}: {recipe.about} ({', '.join(recipe.modes)})")


def train_config(experiment: Experiment, flags: PaperConfig) -> TrainConfig:
    """Give the settings of an experiment's run."""
    training, start = flags.training, start_config(experiment.recipe)
    shares = {task.name: QUICK_SHARE if training.quick else 1.0 for task in find_tasks(start.tables.tasks)}
    if "quora" in shares:
        shares["quora"] *= experiment.share
    epochs = {"epochs": training.epochs}
    if "mlm" in RECIPES[experiment.recipe].modes:
        epochs["mlm_epochs"] = training.mlm_epochs
    settings: dict[str, Any] = {
        "data_dir": training.data_dir,
        "init": training.init,
        "seed": training.seed,
        "run_dir": flags.folders.runs_dir / experiment.name,
        "subset": ",".join(f"{task}={share:g}" for task, share in shares.items() if share < 1) or None,
        **epochs,
        **experiment.settings,
        **(dict.fromkeys(epochs, 1) if training.quick else {}),
    }
    return dataclasses.replace(start, **settings)


def describe(flags: PaperConfig) -> list[str]:
    """The flags that were given, for the report."""
    settings = settings_of(PaperConfig)
    given = {name: value for name, value in flat(flags).items() if value != settings[name].default}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]


if __name__ == "__main__":
    run_command(PaperConfig, main, "eval.paper", trains=True)
