"""The stages that settings ask for, one after the other, each a run that starts where the one before ended."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_jax.cli.interrupt import Interrupt
from bert_jax.cli.settings import flat
from bert_jax.definition import find_tasks, split_names
from bert_jax.errors import InputError
from bert_jax.tasks import KINDS
from train.config import MLM_RATES, OF_A_PROCESS, SAME_CONTENT, TrainConfig
from train.devices.shared import programs as shared_programs
from train.inputs import Inputs, read_inputs, read_tables
from train.recipes import EPOCHS, RECIPES, Mode
from train.resolve import NOT_OF_MLM, PRETRAINED, RANDOM, RunConfig, check, resolve, run_name
from train.runs.events import check_tensorboard
from train.runs.folder import RUNS, RunDir, make_recipe_folder, start_run
from train.runs.log import last_evaluation
from train.runs.record import changes_of_record, make_record

if TYPE_CHECKING:
    from train.devices.programs import Programs


def start_config(recipe: str | None) -> TrainConfig:
    """The settings before any is given: the defaults, or a recipe's.

    >>> start_config("sst_single").training.batch_size
    64
    """
    return TrainConfig(recipe=recipe, **RECIPES[recipe].settings) if recipe else TrainConfig()


def with_recipe(given: Mapping[str, Any]) -> TrainConfig:
    """The settings that hold where none is given: those of the recipe that is."""
    return start_config(given.get("recipe"))


def stage_modes(config: TrainConfig) -> tuple[Mode, ...]:
    """The mode of each stage that the settings ask for; one without a recipe."""
    recipe = config.experiment.recipe
    return RECIPES[recipe].modes if recipe else (config.training.mode,)


def idle_flags(config: TrainConfig) -> list[str]:
    """Settings that differ from the defaults though nothing that the others ask for depends on them.

    >>> idle_flags(TrainConfig(mode="mlm", pooling="mean", mlm_lr=1e-4))
    ['mlm_lr', 'pooling']
    """
    recipe, modes, tasks = config.experiment.recipe, stage_modes(config), find_tasks(config.tables.tasks)
    idle = {"mode"} if recipe else {"pretrain_epochs", "pretrain_lr", "mlm_epochs", "mlm_lr"}
    idle |= {f"{mode}_{what}" for mode in ("pretrain", "mlm") if mode not in modes for what in ("epochs", "lr")}
    if modes == ("mlm",):
        idle |= set(NOT_OF_MLM)
    matters = {
        "scheduler": len(tasks) > 1,
        "pair_encoding": any(task.is_pair for task in tasks),
        "similarity_head": any(KINDS[task.kind].may_be_cosine for task in tasks),
        "save_minutes": config.run.save_every is None,
    }
    idle |= {name for name, does in matters.items() if not does}
    values, start = flat(config), flat(start_config(recipe))
    return sorted(name for name in idle if values[name] != start[name])


def without(config: TrainConfig, names: Sequence[str]) -> TrainConfig:
    """The same settings, some of them as they are by default."""
    start = flat(start_config(config.experiment.recipe))
    return dataclasses.replace(config, **{name: start[name] for name in names})


def resolve_stages(config: TrainConfig) -> list[RunConfig]:
    """The resolved settings of each stage. Without a recipe there is one, and its folder is that of the run.

    A stage's folder lies in that of the recipe's run, such as `runs/in_turn/2-finetune`. Each stage but the first
    starts from the model that the one before has left there.

    Raises:
      InputError: a value is out of range, or two settings do not go together.
    """
    recipe, training, tables = config.experiment.recipe, config.training, config.tables
    if recipe is None:
        return [resolve(config)]
    check(config)
    folder = config.run.run_dir or RUNS / run_name(config, start_config(recipe))
    default = PRETRAINED if config.start.init else RANDOM
    dropout = config.reading.head_dropout
    head_dropout = default.head_dropout if dropout is None else dropout
    epochs = training.epochs or (EPOCHS if config.start.init else RANDOM.epochs)
    mlm_lr = training.mlm_lr or "paper"
    with_heads = _tasks_with_heads(config)
    shares = tables.subset.split(",") if tables.subset else ()
    defaults = flat(TrainConfig())
    of_mode: dict[str, dict[str, Any]] = {
        "mlm": {
            **{name: defaults[name] for name in NOT_OF_MLM},
            "lr": MLM_RATES[mlm_lr] if isinstance(mlm_lr, str) else mlm_lr,
            "epochs": training.mlm_epochs,
        },
        "pretrain": {
            "tasks": ",".join(with_heads.values()),
            "subset": ",".join(share for share in shares if share.partition("=")[0].strip() in with_heads) or None,
            "head_dropout": head_dropout,
            "lr": training.pretrain_lr,
            "epochs": training.pretrain_epochs or epochs,
        },
        "finetune": {"head_dropout": head_dropout, "lr": training.lr or default.lr, "epochs": epochs},
    }
    modes = [mode for mode in stage_modes(config) if mode != "pretrain" or of_mode[mode]["tasks"]]
    own: dict[str, Any] = dict.fromkeys(("recipe", "pretrain_lr", "pretrain_epochs", "mlm_lr", "mlm_epochs"))
    stages: list[RunConfig] = []
    for number, mode in enumerate(modes, start=1):
        settings: dict[str, Any] = {**own, **of_mode[mode], "mode": mode, "run_dir": folder / f"{number}-{mode}"}
        if stages:
            settings |= {"init": f"{stages[-1].run.run_dir}/model", "model": None, "vocab": None}
        stages.append(resolve(dataclasses.replace(config, **settings)))
    return stages


def _tasks_with_heads(config: TrainConfig) -> dict[str, str]:
    """Tasks whose heads have weights to train while the encoder is frozen, by name, as they were named.

    None at all where the scheduler trains the first task alone and that one has none.
    """
    names = config.tables.tasks
    tasks = dict(zip(split_names(names), find_tasks(names), strict=True))
    found = {task.name: named for named, task in tasks.items() if task.has_weights(config.reading.similarity_head)}
    first = next(iter(tasks.values())).name
    return {} if config.experiment.scheduler == "baseline" and first not in found else found


def prepare_stages(config: TrainConfig) -> list[RunConfig]:
    """The stages that settings ask for, after a warning on stderr for those that have no effect.

    Raises:
      InputError: a value is out of range, two settings do not go together, or what one needs is not installed.
    """
    idle = idle_flags(config)
    if idle:
        flags = ", ".join(f"--{name}={flat(config)[name]}" for name in idle)
        print(f"warning: {flags} {'has' if len(idle) == 1 else 'have'} no effect here", file=sys.stderr)
    stages = resolve_stages(without(config, idle))
    if config.run.tensorboard:
        check_tensorboard()
    return stages


def run_stages(
    stages: Sequence[RunConfig],
    interrupt: Interrupt,
    programs: Programs | None = None,
    given: TrainConfig | None = None,
) -> None:
    """Trains what is not yet trained of some stages; those that are complete are passed over.

    All tables are read and checked before the first stage begins, and before JAX is imported.

    Args:
      stages: as `resolve_stages` gives them.
      programs: of earlier runs in this process.
      given: the settings that they come from, to be kept in a recipe's folder.

    Raises:
      UserError: whatever is wrong with the settings, tables, weights or the folder, or goes wrong while training.
    """
    for later in stages[1:]:
        read_tables(later)
    with contextlib.ExitStack() as quiet:
        for number, stage in enumerate(stages, start=1):
            inputs = read_inputs(stage)
            if stage.machine.coordinator and programs is None:
                programs = join(inputs, stage.machine.coordinator)
                interrupt = programs.parallel.listen(interrupt)
                if not programs.parallel.is_first:
                    silence = quiet.enter_context(Path(os.devnull).open("w"))
                    quiet.enter_context(contextlib.redirect_stdout(silence))
                    quiet.enter_context(contextlib.redirect_stderr(silence))
            is_last = number == len(stages)
            if len(stages) > 1:
                if programs is None or programs.parallel.is_first:
                    make_recipe_folder(stage.run.run_dir.parent, given)
                print(f"\nstage {number} of {len(stages)}: {stage.training.mode}")
            programs, complete = run_stage(inputs, interrupt, programs, is_last)
            if not complete and not is_last:
                print("\nThe next stage starts from the end of this one; a larger --max_steps, or none, goes on.")
                return


def run_stage(
    inputs: Inputs, interrupt: Interrupt, programs: Programs | None, is_last: bool
) -> tuple[Programs | None, bool]:
    """Trains one stage, unless it is complete; its programs, if any are needed, and whether it is complete now."""
    stage = inputs.config
    writes = programs is None or programs.parallel.is_first
    with start_run(
        stage, inputs.bert, inputs.tokenizer, inputs.hashes, inputs.checkpoint_bytes, inputs.own, writes
    ) as folder:
        if not is_last and is_complete(inputs, folder, programs):
            print(f"complete: {folder.path}")
            return programs, True
        interrupt.check()
        from train.run import train

        programs = programs or shared_programs(stage.machine.devices, stage.machine.parallel)
        train(inputs, folder, interrupt, programs, is_last)
        return programs, is_last or is_complete(inputs, folder, programs)


def is_complete(inputs: Inputs, folder: RunDir, programs: Programs | None) -> bool:
    """Whether a stage has done all its updates and left the model that the next one starts from."""
    complete = folder.model.exists() and (last_evaluation(folder.metrics) or 0) >= len(inputs.schedule)
    return programs.parallel.from_first(complete) if programs else complete


def join(inputs: Inputs, coordinator: str) -> Programs:
    """Makes this process one of several; the programs of all their devices.

    Raises:
      InputError: they do not find together, or are not to train the same.
    """
    from train.devices.parallel import join_processes
    from train.devices.programs import Programs

    machine = inputs.config.machine
    join_processes(coordinator, machine.num_processes, machine.process_id, machine.process_timeout)
    programs = Programs(machine.devices, machine.parallel)
    record = make_record(inputs.config, inputs.bert, inputs.hashes)
    changes = changes_of_record(programs.parallel.from_first(record), record, OF_A_PROCESS | SAME_CONTENT)
    if changes:
        raise InputError(f"this process is not to train what process 0 is: {', '.join(changes)}")
    return programs
