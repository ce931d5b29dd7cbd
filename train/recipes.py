"""Named experiments: lists of stages, each of which is a run like any other that starts from the one before."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from bert_jax.errors import InputError, perhaps
from bert_jax.tasks import find_tasks, split_names
from train.config import (
    MLM_RATES,
    NOT_OF_MLM,
    PRETRAINED,
    RANDOM,
    Mode,
    RecipeName,
    TrainConfig,
    check_ranges,
    resolve,
    run_name,
)
from train.rundir import RUNS

EPOCHS = 10  # of all stages but masked LM, with weights that are trained already: those of the course's starter


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The modes of an experiment's stages, in their order, and its settings where they differ from the defaults."""

    about: str
    modes: tuple[Mode, ...]
    settings: Mapping[str, Any]


HEADS_THEN_ALL: tuple[Mode, ...] = ("pretrain", "finetune")  # 1e-3 with the encoder frozen, then 1e-5
WITH_MLM: tuple[Mode, ...] = ("mlm", *HEADS_THEN_ALL)

# The values of the paper: batches of 32 examples, of single tasks 64 (SST) and 8 (CFIMDB).
RECIPES: dict[RecipeName, Recipe] = {
    "baseline": Recipe("the first task alone; the others are only scored", HEADS_THEN_ALL, {"scheduler": "baseline"}),
    "in_turn": Recipe("an epoch is all of one task, then all of the next", HEADS_THEN_ALL, {"scheduler": "in_turn"}),
    "mtdnn": Recipe("a round is a batch of each task; small ones repeat", HEADS_THEN_ALL, {"scheduler": "mtdnn"}),
    "in_turn_mlm": Recipe("masked LM on the tasks' texts, then in_turn", WITH_MLM, {"scheduler": "in_turn"}),
    "in_turn_mlm_cosine": Recipe(
        "the same; similarity is a cosine", WITH_MLM, {"scheduler": "in_turn", "similarity_head": "cosine"}
    ),
    "sst_single": Recipe("SST alone", HEADS_THEN_ALL, {"tasks": "sst", "batch_size": 64}),
    "cfimdb_single": Recipe("CFIMDB alone", HEADS_THEN_ALL, {"tasks": "cfimdb", "batch_size": 8}),
}


def start_config(recipe: RecipeName | None) -> TrainConfig:
    """The settings before any flag: the defaults, or a recipe's.

    >>> start_config("sst_single").batch_size
    64
    """
    return TrainConfig(recipe=recipe, **RECIPES[recipe].settings) if recipe else TrainConfig()


def with_recipe(flags: list[str]) -> tuple[list[str], TrainConfig]:
    """The same flags, and the settings that they change: those of the recipe that they name.

    Raises:
      InputError: there is no such recipe.
    """
    named = re.findall(r"(?:^|\n)--recipe[=\n](.*)", "\n".join(flags))[-1:]
    recipe: RecipeName | None = next((recipe for recipe in RECIPES if named.count(recipe)), None)
    if named and not recipe and named != ["None"]:
        guess = perhaps(named[0], RECIPES)
        raise InputError(f"--recipe={named[0]} is no recipe{guess}; there are {', '.join(RECIPES)}")
    return flags, start_config(recipe)


def stage_modes(config: TrainConfig) -> tuple[Mode, ...]:
    """The mode of each stage that the settings ask for; one without a recipe."""
    return RECIPES[config.recipe].modes if config.recipe else (config.mode,)


def idle_flags(config: TrainConfig) -> list[str]:
    """Settings that differ from the defaults though nothing that the others ask for depends on them.

    >>> idle_flags(TrainConfig(mode="mlm", pooling="mean", mlm_lr=1e-4))
    ['mlm_lr', 'pooling']
    """
    start, modes, tasks = start_config(config.recipe), stage_modes(config), find_tasks(config.tasks)
    idle = {"mode"} if config.recipe else {"pretrain_epochs", "pretrain_lr", "mlm_epochs", "mlm_lr"}
    idle |= {f"{mode}_{what}" for mode in ("pretrain", "mlm") if mode not in modes for what in ("epochs", "lr")}
    if modes == ("mlm",):
        idle |= set(NOT_OF_MLM)
    if len(tasks) == 1:
        idle |= {"scheduler"}
    if not any(task.is_pair for task in tasks):
        idle |= {"pair_encoding"}
    if not any(task.kind == "similarity" for task in tasks):
        idle |= {"similarity_head"}
    if config.save_every is not None:
        idle |= {"save_minutes"}
    return sorted(name for name in idle if getattr(config, name) != getattr(start, name))


def without(config: TrainConfig, flags: list[str]) -> TrainConfig:
    """The same settings, some of them as they are by default."""
    start = start_config(config.recipe)
    return dataclasses.replace(config, **{name: getattr(start, name) for name in flags})


def resolve_stages(config: TrainConfig) -> list[TrainConfig]:
    """The resolved settings of each stage. Without a recipe there is one, and its folder is that of the run.

    A stage's folder lies in that of the recipe's run, such as `runs/in_turn/2-finetune`. Each stage but the first
    starts from the model that the one before has left there.

    Raises:
      InputError: a value is out of range, or two settings do not go together.
    """
    if config.recipe is None:
        return [resolve(config)]
    check_ranges(config)
    folder = config.run_dir or RUNS / run_name(config, start_config(config.recipe))
    default = PRETRAINED if config.init else RANDOM
    head_dropout = default.head_dropout if config.head_dropout is None else config.head_dropout
    epochs = config.epochs or (EPOCHS if config.init else RANDOM.epochs)
    mlm_lr = config.mlm_lr or "paper"
    with_heads = _tasks_with_heads(config)
    shares = config.subset.split(",") if config.subset else ()
    of_mode: dict[str, dict[str, Any]] = {
        "mlm": {
            **{name: getattr(TrainConfig(), name) for name in NOT_OF_MLM},
            "lr": MLM_RATES[mlm_lr] if isinstance(mlm_lr, str) else mlm_lr,
            "epochs": config.mlm_epochs,
        },
        "pretrain": {
            "tasks": ",".join(with_heads.values()),
            "subset": ",".join(share for share in shares if share.partition("=")[0].strip() in with_heads) or None,
            "head_dropout": head_dropout,
            "lr": config.pretrain_lr,
            "epochs": config.pretrain_epochs or epochs,
        },
        "finetune": {"head_dropout": head_dropout, "lr": config.lr or default.lr, "epochs": epochs},
    }
    modes = [mode for mode in stage_modes(config) if mode != "pretrain" or of_mode[mode]["tasks"]]
    own: dict[str, Any] = dict.fromkeys(("recipe", "pretrain_lr", "pretrain_epochs", "mlm_lr", "mlm_epochs"))
    stages: list[TrainConfig] = []
    for number, mode in enumerate(modes, start=1):
        settings: dict[str, Any] = {**own, **of_mode[mode], "mode": mode, "run_dir": folder / f"{number}-{mode}"}
        if stages:
            settings |= {"init": f"{stages[-1].run_dir}/model", "model": None, "vocab": None}
        stages.append(resolve(dataclasses.replace(config, **settings)))
    return stages


def _tasks_with_heads(config: TrainConfig) -> dict[str, str]:
    """Tasks whose heads have weights to train while the encoder is frozen, by name, as they were named.

    A cosine has none. None at all where the scheduler trains the first task alone and that one has none.
    """
    tasks = dict(zip(split_names(config.tasks), find_tasks(config.tasks), strict=True))
    found = {
        task.name: named
        for named, task in tasks.items()
        if not (task.kind == "similarity" and config.similarity_head == "cosine")
    }
    first = next(iter(tasks.values())).name
    return {} if config.scheduler == "baseline" and first not in found else found
