"""What a run would do and what it would take, without training: `python -m train.main --dry_run`."""

import dataclasses
import math
from collections import Counter
from typing import Any

import jax
from rich.console import Console

from bert_jax.heads import init_params
from eval.report import new_table
from train.cli.describe import count_values
from train.devices.parallel import Parallel
from train.inputs import Inputs, read_inputs
from train.optim import make_optimizer
from train.plan import Plan, changed_parts, plan_run
from train.resolve import RunConfig, model_config
from train.step import init_state, make_train_step


def print_forecast(stages: list[RunConfig]) -> None:
    """Prints each stage's updates and examples by task, its parameters, and the memory that it needs.

    Raises:
      InputError: a table is missing or wrong, or there are not so many devices.
      WeightsError: the weights are missing or do not fit.
    """
    for number, stage in enumerate(stages, start=1):
        # A later stage's model is not there yet; it has the shapes of the first one's.
        inputs = read_inputs(dataclasses.replace(stage, start=stages[0].start))
        parallel = Parallel(stage.machine.devices, stage.machine.parallel)
        plan = plan_run(inputs, parallel)
        print_updates(inputs, plan, f"stage {number} of {len(stages)}: {stage.training.mode}")
        print_sizes(inputs, plan, parallel)
    print("\nNothing was trained: --dry_run")


def print_updates(inputs: Inputs, plan: Plan, title: str) -> None:
    """Prints how often each task is updated, and how many of its examples are seen, epochs together."""
    config, updates = inputs.config, Counter(plan.schedule)
    seen = {task: sum(len(batch) for batch in plan.batches[task].indices) for task in updates}
    table = new_table(title, "task", "train", "dev", "updates", "share", "examples seen", "share", "rows x tokens")
    for task, tables in inputs.tables.items():
        name = task.name
        shapes = sorted({f"{s.rows}x{s.length}" for s in plan.batches[name].shapes}) if name in updates else []
        table.add_row(
            name,
            f"{len(tables['train'].examples):,}",
            f"{len(tables['dev'].examples):,}",
            f"{updates[name]:,}",
            f"{updates[name] / len(plan.schedule):.0%}",
            f"{seen.get(name, 0):,}",
            f"{seen.get(name, 0) / sum(seen.values()):.0%}",
            ", ".join(shapes),
        )
    Console().print(table)
    print(f"folder      {config.run.run_dir}")
    training, dtype, seed = config.training, config.reading.dtype, config.run.seed
    how = "masked LM" if training.mode == "mlm" else config.experiment.scheduler
    updates_in_all = f"{training.epochs} epochs of {plan.steps_per_epoch:,} updates, {len(plan.schedule):,} in all"
    print(f"train       {how}, {updates_in_all}")
    print(f"            lr {training.lr:g}, batch {training.batch_size}, seed {seed}, {dtype}")


def print_sizes(inputs: Inputs, plan: Plan, parallel: Parallel) -> None:
    """Prints the parameters, and bytes as XLA counts them for the largest batch."""
    config, tasks = inputs.config, list(inputs.tables)
    model = model_config(config, inputs.bert)
    training = config.training
    tx = make_optimizer(training.lr, training.weight_decay, training.optimizer)
    params = init_params(model, tasks, seed=None)
    trained = changed_parts(inputs, model)
    parts = {part for each in trained.values() for part in each}
    state = jax.eval_shape(lambda params: init_state(params, tx, parts), params)
    moved = sorted({part for task, each in trained.items() if task.name in plan.batches for part in each})
    trained_now = count_values({part: params[part] for part in moved})
    print(f"model       {inputs.source}")
    print(f"parameters  {count_values(params):,}, of which {trained_now:,} are trained ({', '.join(moved)})")

    task, number = largest_batch(inputs, plan)
    step = make_train_step(model, task, tx, trained[task], config.run.seed, config.speed.accumulate)
    temporary = parallel.temporary_bytes(step, state, plan.batches[task.name][number], config.speed.accumulate)
    held = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    more = f"{megabytes(temporary)} more for the largest batch ({task.name})"
    print(f"memory      {megabytes(held)} of parameters and moments, {more}, {parallel}")
    print(f"disk        {megabytes(3 * held)} for three checkpoints")


def largest_batch(inputs: Inputs, plan: Plan) -> tuple[Any, int]:
    """The task and the number of a batch that computes the most tokens."""
    shapes = {task: plan.batches[task.name].shapes for task in inputs.tables if task.name in plan.batches}
    places = [(task, number) for task in shapes for number in range(len(shapes[task]))]
    return max(places, key=lambda place: shapes[place[0]][place[1]].tokens)


def megabytes(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:,.0f} MB"
