"""A run from checked inputs: its batches, its state, its steps, and the loop over them."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np

from bert_jax.cli.interrupt import Interrupt
from bert_jax.config import ModelConfig
from bert_jax.files import write_atomically
from bert_jax.heads import Params, init_params
from bert_jax.tasks import Task
from eval.evaluate import evaluate
from train.cli.describe import print_outcome, print_plan, print_progress
from train.devices.parallel import Parallel
from train.devices.profiling import Profile
from train.devices.programs import Programs
from train.inputs import Inputs
from train.loop import Counters, Evaluate, Intervals, NoStore, fit
from train.optim import make_optimizer
from train.plan import Plan, changed_parts, frozen_parts, plan_run
from train.resolve import model_config
from train.runs import log
from train.runs.checkpoint import Checkpoints
from train.runs.events import EventLog
from train.runs.folder import RunDir, write_model
from train.step import TrainState, init_state


def first_state(inputs: Inputs, model: ModelConfig, trained: Mapping[Task, Sequence[str]]) -> TrainState:
    """The state before the first update: the weights that the run was given, and what they lack at random."""
    config = inputs.config
    params = jax.tree.map(jax.numpy.asarray, init_params(model, list(inputs.tables), config.run.seed, inputs.weights))
    training = config.training
    tx = make_optimizer(training.lr, training.weight_decay, training.optimizer)
    return init_state(params, tx, {part for parts in trained.values() for part in parts})


def last_state(
    checkpoints: Checkpoints | NoStore, first: TrainState, parallel: Parallel
) -> tuple[TrainState, Counters, bool]:
    """Where a run goes on: its newest checkpoint, or `first`, on all devices and arranged for them.

    Returns:
      The state; what the loop remembers; whether the state has been evaluated.
    """
    state, counters, evaluated = checkpoints.restore_latest(like=first) or (first, {}, False)
    counters, evaluated = parallel.from_first([counters, evaluated])
    return parallel.arrange(parallel.place(state)), Counters(**counters), evaluated


def dev_evaluation(model: ModelConfig, programs: Programs, plan: Plan, check: Callable[[], None]) -> Evaluate:
    """A function from parameters to the dev scores by task, and the one score that picks the best checkpoint.

    That is the mean of the metrics of the tasks that are trained: an untrained head says nothing about a checkpoint.

    Args:
      check: called before each batch; raises to stop.
    """
    predict = {task: programs.predict_step(model, task) for task in plan.dev}

    def evaluate_dev(params: Params) -> tuple[dict[str, Any], float]:
        scores = evaluate({task: lambda batch, f=f: f(params, batch) for task, f in predict.items()}, plan.dev, check)
        trained = [values[task.metric] for task, values in scores.items() if task.name in plan.batches]
        return {task.name: values for task, values in scores.items()}, float(np.mean(trained))

    return evaluate_dev


def train(
    inputs: Inputs, run: RunDir, interrupt: Interrupt, programs: Programs | None = None, is_last: bool = True
) -> TrainState:
    """Starts a run or goes on with it, to its end or to `max_steps`; prints the plan first and the dev table last.

    Masked LM and heads alone are steps on the way, so they leave a model to start from: all parts of the weights that
    the run was given, those that it trained as they are now.

    Args:
      programs: compiled steps of other runs, and of this one from now on.
      is_last: whether what can be done with the run is said at its end.
    """
    config, options = inputs.config, inputs.config.run
    programs = programs or Programs(config.machine.devices, config.machine.parallel)
    parallel, compiled_before = programs.parallel, programs.parallel.compilations
    model = model_config(config, inputs.bert)
    plan = plan_run(inputs, parallel)
    trained = changed_parts(inputs, model)
    state = first_state(inputs, model, trained)

    with contextlib.ExitStack() as opened:
        checkpoints = Checkpoints(run.checkpoints, run.fingerprint) if parallel.is_first else NoStore()
        opened.callback(checkpoints.close)
        state, counters, evaluated = last_state(checkpoints, state, parallel)
        events = profile = None
        if parallel.is_first:
            log.keep_until(run.metrics, int(state.step), evaluated)
            if options.tensorboard:
                events = EventLog(run.path / "tensorboard", log.entries(run.metrics))
                opened.callback(events.close)
        # What is trained already is not undone by a smaller --max_steps or --epochs.
        total = max(int(state.step), min(options.max_steps or len(plan.schedule), len(plan.schedule)))
        print_plan(inputs, plan, str(parallel), state, total)
        steps = {
            task.name: programs.train_step(model, task, config.training, parts, options.seed, config.speed.accumulate)
            for task, parts in trained.items()
        }
        if options.profile and parallel.is_first:
            profile = Profile(run.path / "profile", plan.batches, lambda: parallel.compilations, parallel.count)
            opened.callback(profile.close)
        started, done = time.monotonic(), int(state.step)
        state = fit(
            state,
            counters,
            iter(plan.schedule),
            steps,
            plan.batches,
            Intervals(plan.steps_per_epoch, total, options.log_every, options.save_every, options.save_minutes),
            evaluated=evaluated,
            evaluate=dev_evaluation(model, programs, plan, interrupt.check),
            checkpoints=checkpoints,
            log=lambda entry: write_entry(run, entry, events) if parallel.is_first else None,
            interrupt=interrupt,
            observe=profile.after_update if profile else lambda *_: None,
        )
    state = parallel.undo_arrange(state)
    if config.training.mode != "finetune" and parallel.is_first:
        write_model(run, inputs.bert, {**(inputs.weights or {}), **state.params}, inputs.tokenizer)
    seconds = time.monotonic() - started
    if profile:
        print("\n" + profile.report(inputs.bert, config.reading.dtype, "bert" not in frozen_parts(inputs)))
    if parallel.is_first:
        print_progress(len(plan.schedule), int(state.step), done, seconds, parallel.compilations - compiled_before)
        print_outcome(inputs, run, is_last)
        if int(state.step) > done or not run.curves.exists():
            draw_curves(run, inputs)
    return state


def write_entry(run: RunDir, entry: dict[str, Any], events: EventLog | None) -> None:
    """Adds a line to the log, and to TensorBoard's if there is one."""
    log.append(run.metrics, entry)
    if events:
        events.write(entry)


def draw_curves(run: RunDir, inputs: Inputs) -> None:
    """Draws the log's learning curves if matplotlib is there. A run never fails for its picture."""
    if find_spec("matplotlib") is None:
        return
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # what it says of its caches is no matter of the run's
    try:
        from eval.curves import as_png, draw_run

        figure = draw_run(log.entries(run.metrics), {task.name: task.metric for task in inputs.tables})
        write_atomically(run.curves, as_png(figure))
    except Exception as error:
        print(f"note: {run.curves} was not drawn: {error}", file=sys.stderr)
