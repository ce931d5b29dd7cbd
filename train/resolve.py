"""Settings with every default filled in: what one run is made of, and the name of its folder."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

from bert_jax.cli.settings import check_ranges, flat, render_settings
from bert_jax.config import BertConfig, ModelConfig
from bert_jax.definition import find_tasks, plain_names
from bert_jax.errors import InputError
from train.config import (
    MAY_CHANGE,
    MLM_RATES,
    ONLY_OF_TFDS,
    SETTINGS,
    Machine,
    Reading,
    RunOptions,
    Tables,
    TrainConfig,
    Training,
)

# A masked LM is one task on single texts; these say how tasks are mixed, and how texts and pairs of them are read off.
NOT_OF_MLM = ("scheduler", "pair_encoding", "similarity_head", "pooling", "head_dropout")


@dataclasses.dataclass(frozen=True)
class ResolvedTraining(Training):
    """The same with every default filled in."""

    epochs: int = 0
    lr: float = math.nan


@dataclasses.dataclass(frozen=True)
class ResolvedReading(Reading):
    """The same with every default filled in."""

    head_dropout: float = math.nan


@dataclasses.dataclass(frozen=True)
class ResolvedRun(RunOptions):
    """The same with every default filled in."""

    run_dir: Path = Path()


@dataclasses.dataclass(frozen=True, init=False)
class RunConfig(TrainConfig):
    """The settings of one run: of a recipe, those of one of its stages. `resolve` makes them."""

    training: ResolvedTraining
    reading: ResolvedReading
    run: ResolvedRun


@dataclasses.dataclass(frozen=True)
class Default:
    """Values of the settings that depend on what is trained."""

    epochs: int
    lr: float
    head_dropout: float


# The paper's values, but for the epochs: the course's starter has 10, which takes hours on a laptop.
PRETRAINED = Default(epochs=3, lr=1e-5, head_dropout=0.3)
RANDOM = Default(epochs=6, lr=1e-3, head_dropout=0.1)
HEADS_ONLY_LR = 1e-3
PRETRAINED_MLM = Default(epochs=4, lr=MLM_RATES["usual"], head_dropout=0.0)
RANDOM_MLM = Default(epochs=20, lr=1e-3, head_dropout=0.0)


def resolve(config: TrainConfig) -> RunConfig:
    """The same settings with every default filled in.

    Raises:
      InputError: a value is out of range, or two settings do not go together.
    """
    check(config)
    start, mode = config.start, config.training.mode
    if start.init and (start.model or start.vocab):
        raise InputError("--init brings its own model and vocabulary: leave out --model and --vocab, or --init")
    check_data(config.tables)
    check_processes(config.machine)
    data = "--data_dir" if config.tables.data_dir else "--data=tfds" if config.tables.data else None
    if data and not start.init and not start.vocab:
        raise InputError(f"{data} needs --init (for one, --init=all-minilm-l6-v2), or --vocab for a random start")
    pretrained, random = (PRETRAINED_MLM, RANDOM_MLM) if mode == "mlm" else (PRETRAINED, RANDOM)
    default = pretrained if start.init else random
    filled: dict[str, Any] = {
        "epochs": default.epochs,
        "lr": HEADS_ONLY_LR if mode == "pretrain" else default.lr,
        "head_dropout": default.head_dropout,
        "model": None if start.init else "bert-tiny",
        "run_dir": Path("runs") / run_name(config),
    }
    given = flat(config)
    return RunConfig(**given | {name: value for name, value in filled.items() if given[name] is None})


def model_config(config: RunConfig, bert: BertConfig) -> ModelConfig:
    """The model that resolved settings and an encoder's dimensions make."""
    of_model = {name: value for name, value in vars(config.reading).items() if name != "max_length"}
    return ModelConfig(bert, **of_model)


def repeat(config: TrainConfig) -> str:
    """The settings file with which a run, or a recipe's runs, would be done again. Defaults are comments in it."""
    values = flat(config)
    defaults = {name for name, value in values.items() if value == SETTINGS[name].default}
    if isinstance(config, RunConfig):
        filled = ("epochs", "lr", "head_dropout", "model")
        again = flat(resolve(TrainConfig(**values | dict.fromkeys(filled))))
        defaults |= {name for name in filled if again[name] == values[name]}
    about = "# python -m train.main --config=THIS_FILE does this again; flags win over it. Defaults are comments.\n\n"
    return about + render_settings(SETTINGS, values, defaults)


def check(config: TrainConfig) -> None:
    """Raises InputError if a value is out of range."""
    check_ranges(config)
    subset_shares(config.tables)


def subset_shares(tables: Tables) -> dict[str, float]:
    """The share of its train table that each task named in `subset` is trained on.

    Raises:
      InputError: it is not written so, names no task of the run, or a share is not in (0, 1].

    >>> subset_shares(Tables(subset="quora=0.25,sst=0.5"))
    {'quora': 0.25, 'sst': 0.5}
    """
    shares: dict[str, float] = {}
    tasks = {task.name for task in find_tasks(tables.tasks)}
    for part in tables.subset.split(",") if tables.subset else ():
        name, _, share = (text.strip() for text in part.partition("="))
        if name not in tasks or name in shares:
            raise InputError(f"--subset={tables.subset} names {name!r}, but it names tasks of --tasks, each once")
        if not re.fullmatch(r"1(\.0*)?|0?\.\d*[1-9]\d*", share):
            wanted = "a share is a number above 0, and at most 1, as in quora=0.25"
            raise InputError(f"--subset={tables.subset}, but {wanted}")
        shares[name] = float(share)
    return shares


def check_data(tables: Tables) -> None:
    """Raises InputError if the settings name tables in two places, or say how to read what is not read."""
    if tables.data and tables.data_dir:
        raise InputError("--data=tfds takes the place of --data_dir; it finds the course's tables in --manual_dir")
    for name in ONLY_OF_TFDS:
        value = getattr(tables, name)
        if value is not None and not tables.data:
            raise InputError(f"--{name}={value} says how --data=tfds reads tables, and needs it")


def check_processes(machine: Machine) -> None:
    """Raises InputError if the settings do not say where the processes of a run find together, and which this is."""
    flags, count, number = "--num_processes and --process_id", machine.num_processes, machine.process_id
    if machine.coordinator is None:
        if count is not None or number is not None:
            raise InputError(f"{flags} need --coordinator, where the processes find together")
        return
    if machine.coordinator == "auto":
        return
    written = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s:]+):(\d{1,5})", machine.coordinator)
    if not written or not 0 < int(written[2]) < 2**16:
        raise InputError(f"--coordinator={machine.coordinator}, but it is HOST:PORT of process 0, or auto")
    if count is None or number is None:
        raise InputError(f"--coordinator={machine.coordinator} needs {flags}")
    if not 0 <= number < count:
        raise InputError(f"--process_id={number}, but {count} processes have the numbers 0 to {count - 1}")


def run_name(config: TrainConfig, start: TrainConfig | None = None) -> str:
    """The recipe, the scheduler, or mlm, then every setting that makes another run than the defaults do.

    The model that a run has left behind is called after that run.

    Args:
      start: the defaults; a recipe has its own.

    >>> run_name(TrainConfig(scheduler="mtdnn", data_dir=Path("data/cs224n"), lr=2e-5))
    'mtdnn-data_dir=cs224n-lr=2e-05'
    >>> run_name(TrainConfig(init="runs/mlm-seed=1/model"))
    'mtdnn-init=mlm-seed=1'
    >>> run_name(TrainConfig(tasks="sst,examples/topic.toml"))
    'mtdnn-tasks=sst+topic'
    """
    values, defaults = flat(config), flat(start or TrainConfig())
    first = "recipe" if values["recipe"] else "mode" if values["mode"] == "mlm" else "scheduler"
    parts = [values[first]]
    for name, value in values.items():
        if name not in {first, *MAY_CHANGE} and value != defaults[name]:
            text = value.resolve().name if isinstance(value, Path) else _last_name(plain_names(str(value)))
            parts.append(f"{name}={text.replace(',', '+')}")
    return "-".join(parts)


def _last_name(text: str) -> str:
    """The last part of a path or a hub id; of `RUN/model`, RUN."""
    *_, before, last = ["", "", *(name for name in text.split("/") if name not in ("", ".", ".."))]
    return before if before and last == "model" else last
