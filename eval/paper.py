"""`python -m eval.paper`: the paper's tables and figure, ours beside theirs; trains what is missing."""

import dataclasses
import importlib.util
import os
from pathlib import Path
from typing import Any, Literal

from bert_jax.data.sample import SAMPLE
from bert_jax.errors import InputError
from bert_jax.tasks import COURSE_TASKS, find_tasks
from eval.comparison import compare, print_comparison
from eval.overlaps import audit_tables
from eval.published import FIGURE_EPOCHS, SHARES, TABLES, Experiment, read_stages, wanted_experiments
from train.command import run_command
from train.config import RANDOM, TrainConfig, check_positive
from train.experiment import find_result, judge_run, same_runs, train_run, write_result
from train.inputs import read_tables
from train.interrupt import Interrupt
from train.recipes import RECIPES, resolve_stages, start_config
from train.rundir import make_folder
from train.sections import PAPER_SECTIONS

QUICK_SHARE = 0.25  # of the train tables
RESAMPLES, QUICK_RESAMPLES = 1000, 200  # draws of each interval
SUITED_LR = 3e-5  # the best of three for MiniLM-L6 on SST alone: docs/paper.md


@dataclasses.dataclass(frozen=True)
class PaperConfig:
    """Makes the paper's tables and its figure: trains the runs that are missing, takes those that are finished.

    Without --data_dir it trains tiny models on the embedded sample, which says nothing about the paper.
    """

    list: bool = False
    """Say what there is, and which runs each table needs."""
    table: str | None = None
    """Tables to make, such as 1 or 1,3."""
    figure: Literal[1] | None = None
    """Figure to make; there is one."""
    all: bool = False
    """Make all tables and the figure."""
    only: str | None = None
    """Runs to train, by their names in --list, with commas between them. No table is made: several commands can share
    the runs of one, on one machine or on more, and another one makes it of their results."""
    quick: bool = False
    """One epoch on a quarter of the train tables: shows that it works, in minutes. Alone it means --all."""
    data_dir: Path | None = None
    """Folder with the course's tables. Default: the embedded sample."""
    init: str | None = None
    """Weights to start from, as of train.main. Default: random."""
    epochs: int | None = None
    """Passes over the data in the stages of heads alone and of everything. Default: the recipes'."""
    mlm_epochs: int | None = None
    """Passes over the texts in masked LM. Default: the recipes'."""
    figure_epochs: int = FIGURE_EPOCHS
    """Passes over the data in the runs of Figure 1."""
    suited_lr: float | None = None
    """Learning rate of the last stage in the table of rates that suit the weights. Default: 3e-5, or 1e-3 for models
    that start random."""
    seed: int = 11711
    """Seed of every run."""
    runs_dir: Path = Path("runs/paper")
    """Folder of the runs. Those that are there go on where they stopped."""
    results: Path | None = None
    """Folder of the results of finished runs, one file each. Default: RUNS_DIR/results."""
    output: Path | None = None
    """Folder of paper.json, report.html and the figure. Default: RUNS_DIR/report."""


def main(flags: PaperConfig) -> None:
    """Everything is checked before the first run starts, which may take hours."""
    numbers, figure = chosen(flags)
    if flags.list:
        print_list(flags)
        return
    if not flags.only and importlib.util.find_spec("matplotlib") is None:
        raise InputError("the report needs matplotlib: pip install matplotlib")
    rate = flags.suited_lr or (SUITED_LR if flags.init else RANDOM.lr)
    shares = SHARES if not flags.quick else (SHARES[0], SHARES[-1])
    experiments = wanted_experiments(numbers, shares if figure else (), rate, flags.figure_epochs)
    configs = only_asked({experiment.name: train_config(experiment, flags) for experiment in experiments}, flags.only)
    for config in configs.values():
        read_tables(resolve_stages(config)[-1])
    results_dir = flags.results or flags.runs_dir / "results"
    output = flags.output or flags.runs_dir / "report"
    for folder in (flags.runs_dir, results_dir, output):
        make_folder(folder)
    results = train_missing(configs, results_dir, flags)
    if flags.only:
        for name in results:
            print(f"result: {results_dir / name}.json")
        return
    comparison = compare(numbers, shares if figure else (), results, flags.figure_epochs)
    print_comparison(comparison)
    from eval.page import write_report

    audit = audit_tables(flags.data_dir or SAMPLE, tuple(COURSE_TASKS.values()))
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
    """The result of each run, by its name; those that are not there yet are trained, judged and kept.

    Raises:
      Interrupted: a signal came; what is trained so far is saved.
    """
    known = {name: find_result(results_dir / f"{name}.json", config) for name, config in configs.items()}
    results = {name: result for name, result in known.items() if result is not None}
    missing = {name: config for name, config in configs.items() if name not in results}
    print(f"{len(configs)} runs, {len(results)} of them finished", flush=True)
    if not missing:
        return results
    if flags.quick:  # runs as short as these are sooner done if they are compiled fast rather than well
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    from train.programs import Programs

    programs = Programs()
    with Interrupt() as interrupt:
        for names, config in same_runs(missing):
            print(f"{len(results) + 1} of {len(configs)}  {', '.join(names)}  (see {config.run_dir}.log)", flush=True)
            train_run(config, flags.runs_dir, interrupt, programs)
            modes = set().union(*(read_stages(name) for name in names))
            judged = judge_run(config, modes, QUICK_RESAMPLES if flags.quick else RESAMPLES, interrupt, programs)
            for name in names:
                results[name] = write_result(results_dir / f"{name}.json", config, judged)
    return {name: results[name] for name in configs}


def chosen(flags: PaperConfig) -> tuple[list[int], bool]:
    """The tables and the figure that are asked for.

    Raises:
      InputError: none is, or one that does not exist.
    """
    for name in ("epochs", "mlm_epochs", "figure_epochs"):
        check_positive(name, getattr(flags, name))
    if flags.all or flags.list or ((flags.quick or flags.only) and not flags.table and not flags.figure):
        return list(TABLES), True
    try:
        numbers = [int(part) for part in flags.table.split(",")] if flags.table else []
    except ValueError:
        numbers = [0]
    if any(number not in TABLES for number in numbers):
        raise InputError(f"--table={flags.table}, but there are tables 1 to {len(TABLES)}; see --list")
    if not numbers and not flags.figure:
        raise InputError("nothing is asked for: --table=N, --figure=1, --all, --quick or --list")
    return numbers, flags.figure is not None


def print_list(flags: PaperConfig) -> None:
    """What can be made, and which runs it takes."""
    for number, table in TABLES.items():
        print(f"table {number}   {table.title}")
        print("          " + ", ".join(dict.fromkeys(row.experiment for row in table.rows)))
    print("figure 1  F1 of Quora on dev, in turn minus MT-DNN, against the share of Quora's train table")
    study = wanted_experiments([], SHARES, SUITED_LR, flags.figure_epochs)
    print("          " + ", ".join(experiment.name for experiment in study))
    print("recipes")
    for name, recipe in RECIPES.items():
        print(f"          {name}: {recipe.about} ({', '.join(recipe.modes)})")


def train_config(experiment: Experiment, flags: PaperConfig) -> TrainConfig:
    """The settings of an experiment's run."""
    start = start_config(experiment.recipe)  # type: ignore[arg-type]
    tasks = [task.name for task in find_tasks(start.tasks)]
    shares = dict.fromkeys(tasks, QUICK_SHARE if flags.quick else 1.0)
    if "quora" in shares:
        shares["quora"] *= experiment.share
    settings: dict[str, Any] = {
        "data_dir": flags.data_dir,
        "init": flags.init,
        "seed": flags.seed,
        "run_dir": flags.runs_dir / experiment.name,
        "subset": ",".join(f"{task}={share:g}" for task, share in shares.items() if share < 1) or None,
        "epochs": 1 if flags.quick else flags.epochs,
    }
    if "mlm" in RECIPES[experiment.recipe].modes:  # type: ignore[index]
        settings["mlm_epochs"] = 1 if flags.quick else flags.mlm_epochs
    if not flags.quick:
        settings |= {"epochs": experiment.settings.get("epochs", settings["epochs"])}
    more = {name: value for name, value in experiment.settings.items() if name != "epochs"}
    return dataclasses.replace(start, **settings | more)


def describe(flags: PaperConfig) -> list[str]:
    """The flags that were given, for the report."""
    given = {f.name: getattr(flags, f.name) for f in dataclasses.fields(flags) if getattr(flags, f.name) != f.default}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]


if __name__ == "__main__":
    run_command(PaperConfig, main, "eval.paper", trains=True, sections=PAPER_SECTIONS)
