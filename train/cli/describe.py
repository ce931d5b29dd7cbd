"""What a run says of itself: before it starts, what it found and will do; at its end, how that went."""

import math
import shlex
from typing import Any

import jax
from rich.console import Console

from bert_jax.batches.masking import MASKED
from bert_jax.cli.environment import pages_in_words
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Folder
from bert_jax.definition import split_names
from bert_jax.errors import counted
from eval.report import new_table, print_scores
from train.config import ONLY_OF_TFDS, TrainConfig
from train.inputs import Inputs, find_source
from train.plan import Plan
from train.resolve import RANDOM
from train.runs.folder import RunDir
from train.runs.log import best_entry
from train.step import TrainState


def print_plan(inputs: Inputs, plan: Plan, devices: str, state: TrainState, total: int) -> None:
    """Prints data, model, devices and the updates to come."""
    config = inputs.config
    reading, training = config.reading, config.training
    console = Console()
    source = find_source(config.tables)
    folder = "the embedded sample" if source == Folder(SAMPLE) else str(source)
    places = [folder] if len(split_names(config.tables.tasks)) > len(inputs.own) else []
    places += [f"{task.name} in {task.folder}" for task in inputs.own]
    masked_lm = training.mode == "mlm"
    skipped = "left out" if masked_lm else "no label"
    headings = ("train", "dev", skipped, "cut", "updates", "rows x tokens", "filled", "if padded")
    table = new_table(f"data: {', '.join(places)}", "task", *headings)
    for task, tables in inputs.tables.items():
        batches = plan.batches.get(task.name)
        table.add_row(
            task.name,
            str(len(tables["train"].examples)),
            str(len(tables["dev"].examples)),
            str(sum(each.skipped for each in tables.values())),
            str(plan.truncated[task.name]),
            str(len(batches) if batches else 0),
            ", ".join(f"{rows}x{length}" for rows, length in sorted(set(batches.shapes))) if batches else "",
            f"{batches.real_tokens / batches.computed_tokens:.0%}" if batches else "",
            f"{batches.real_tokens / batches.padded_tokens:.0%}" if batches else "",
        )
    console.print(table)
    reads = "head on the masked tokens" if masked_lm else f"{reading.pair_encoding} pairs, {reading.pooling} pooling"
    if masked_lm:
        for split, texts in next(iter(inputs.tables.values())).items():
            print(f"texts    {split} {len(texts.examples):,}; left out: {texts.left_out}")
    print(f"model    {inputs.source}, {count_values(state.params):,} parameters, {reads}")
    print(f"devices  {devices}, {reading.dtype}")
    print(f"memory   {pages_in_words()}")
    how = f"{MASKED:.0%} of the tokens masked" if masked_lm else config.experiment.scheduler
    print(f"train    {training.mode}: {how}, lr {training.lr:g}, batch {training.batch_size}, seed {config.run.seed}")
    done, epochs = int(state.step), f"{counted(training.epochs, 'epoch')} of {plan.steps_per_epoch}"
    if done > len(plan.schedule):
        print(f"updates  {done} are done already, more than {epochs}")
    else:
        going_on = f", going on after {done}" if done else ""
        early = f", stopping early at {total}" if total < len(plan.schedule) else ""
        print(f"updates  {total}{going_on}: {epochs}{early}")
    print(f"run      {config.run.run_dir}", flush=True)


def count_values(tree: Any) -> int:
    """The numbers that the arrays of a tree hold together."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def print_progress(planned: int, step: int, done_before: int, seconds: float, compilations: int) -> None:
    """Prints how many updates were done in this call, or why none was."""
    if step > done_before:
        updates, programs = counted(step - done_before, "update"), counted(compilations, "program")
        print(f"\n{updates} in {seconds:.0f} s, evaluation included; {programs} compiled")
    elif step < planned:
        print(f"\nThis run is at update {step} of {planned} already; a larger --max_steps, or none, goes on.")
    else:
        print("\nThis run is complete; nothing is left to train. Another --run_dir starts it anew.")


def print_outcome(inputs: Inputs, run: RunDir, is_last: bool) -> None:
    """Prints the dev table of the best checkpoint and, at the end of the last stage, what to do next."""
    best = best_entry(run.metrics)
    if best is None:
        print("It has not been evaluated yet.")
        return
    rows = {task: len(tables["dev"].examples) for task, tables in inputs.tables.items()}
    scores = {task: best["dev"][task.name] for task in inputs.tables}
    print_scores(scores, rows, f"dev, best checkpoint (after update {best['step']})")
    if not is_last:
        return
    folder, first = shlex.quote(str(run.path)), next(iter(inputs.tables))
    print(f"\nnext: python -m eval.main --run_dir={folder}")
    if first.is_masked_lm:
        print(f"      python -m train.main {finetuning_flags(inputs, run)}")
        return
    texts = r"A dog is running .\tA dog runs .\n" if first.is_pair else r"A warm and funny film .\n"
    print(f"      printf '{texts}' | python -m eval.predict --run_dir={folder} --task={first.name}")


def finetuning_flags(inputs: Inputs, run: RunDir) -> str:
    """Flags of `train.main` that train the tasks whose texts a masked LM was trained on, from its model.

    One that started random has seen little text, so it takes the rate and epochs of a random start.
    """
    config, start = inputs.config, TrainConfig()
    tables = config.tables
    flags: dict[str, Any] = {name: getattr(tables, name) for name in ("data_dir", "data", *ONLY_OF_TFDS)}
    flags |= {"tasks": tables.tasks if tables.tasks != start.tables.tasks else None}
    flags |= {"init": run.model} | ({} if config.start.init else {"epochs": RANDOM.epochs, "lr": RANDOM.lr})
    return " ".join(f"--{name}={shlex.quote(str(value))}" for name, value in flags.items() if value is not None)
