"""`python -m eval.export --run_dir=R --output=D`: a run's model as transformers and sentence-transformers load it."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.errors import InputError, StorageError
from bert_jax.interchange import write_modules, write_tokenizer
from bert_jax.tasks import Task
from bert_jax.weights import HEADS_FILE, save_model
from eval.card import Card, render_card
from eval.usage import training_flags
from train.command import run_command
from train.config import MAY_CHANGE, TrainConfig
from train.inputs import run_tasks
from train.log import dev_entries, with_nan
from train.manifest import replace_folder
from train.rundir import open_run, read_record, stage_folders


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Writes a run's model into a folder that transformers, sentence-transformers and --init load, with a model card.

    The encoder is a BertModel, of a masked LM a BertForMaskedLM; the heads lie in heads.safetensors beside it.
    """

    run_dir: Path
    """Folder of the run."""
    output: Path
    """Folder to write; it is new or empty."""
    task: str | None = None
    """Makes it a BertForSequenceClassification of this task of the run, in place of a BertModel."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which checkpoint."""


def check_output(flags: ExportConfig) -> None:
    """Raises an error unless the folder can be written without harm to what is there."""
    path = flags.output
    if (path.exists() and not path.is_dir()) or not path.absolute().parent.is_dir():
        raise StorageError(f"--output={path} is no folder and cannot be made one")
    try:
        inside = min((inner.name for inner in path.iterdir()), default=None) if path.exists() else None
    except OSError as error:
        raise StorageError(f"--output={path} cannot be read: {error.strerror}") from None
    if inside is not None:
        raise InputError(f"--output={path} holds {inside}; name a folder that is new or empty")
    if flags.run_dir.resolve() in path.resolve().parents:
        raise InputError(f"--output={path} lies in the run's own folder; name one outside of it")


def find_classifier(name: str, config: TrainConfig, model: ModelConfig) -> Task:
    """The task of a run whose head transformers can hold: one linear layer on the pooler's output for one text.

    Raises:
      InputError: it is none of the run's, or its head is another.
    """
    tasks = {task.name: task for task in run_tasks(config)}
    if name not in tasks or config.mode == "mlm":
        raise InputError(f"--task={name} is no task of this run; it has {', '.join(tasks)}")
    needed = {"pooling": "cls"} | ({"pair_encoding": "joint"} if tasks[name].is_pair else {})
    wrong = [f"--{setting}={value}" for setting, value in needed.items() if getattr(model, setting) != value]
    if wrong:
        reason = f"a BertForSequenceClassification needs a run with {' and '.join(wrong)}"
        raise InputError(f"--task={name} cannot be exported: {reason}; without --task its head is in {HEADS_FILE}")
    return tasks[name]


def told_record(folder: Path) -> dict[str, dict[str, Any]]:
    """The record of a run, without the settings that say nothing of its model: where it was, how often it spoke."""
    record = read_record(open_run(folder)[0])
    settings = {name: value for name, value in record["config"].items() if name not in MAY_CHANGE - {"epochs"}}
    return {**record, "config": settings}


def main(flags: ExportConfig) -> None:
    """Checks the run, the task and the output before JAX is imported."""
    run, config, model, tokenizer = open_run(flags.run_dir)
    classifier = None if flags.task is None else find_classifier(flags.task, config, model)
    check_output(flags)
    records = [told_record(folder) for folder in stage_folders(flags.run_dir) or [run.path]]
    entries = dev_entries(run.metrics)

    import jax

    from train.checkpoint import restore_params

    tasks = run_tasks(config)
    step, params = restore_params(run.checkpoints, run.fingerprint, model, tasks, flags.checkpoint)
    params = jax.tree.map(np.asarray, params)
    card = Card(
        name=flags.output.resolve().name,
        model=model,
        tasks=tasks,
        classifier=classifier,
        has_pooler="pooler" in params,
        checkpoint=flags.checkpoint,
        step=step,
        scores=next((with_nan(entry["dev"]) for entry in reversed(entries) if entry["step"] == step), {}),
        stages=records,
    )
    is_masked_lm = config.mode == "mlm"
    again = "" if is_masked_lm else training_flags(model)
    max_length = min(config.max_length, model.bert.max_position_embeddings)
    with replace_folder(flags.output) as folder:
        save_model(folder, model.bert, params, classifier)
        write_tokenizer(folder, tokenizer, max_length, splits_special=not is_masked_lm)
        if not classifier and not is_masked_lm:
            write_modules(folder, model, params.get("pooler"), max_length)
        (folder / "README.md").write_text(render_card(card), encoding="utf-8")
    print(f"{flags.checkpoint} checkpoint (after update {step}) of {flags.run_dir} -> {flags.output}")
    print(f"{flags.output / 'README.md'} says how other libraries load it")
    print(f"next: python -m train.main --init={shlex.quote(str(flags.output))}{again}")


if __name__ == "__main__":
    run_command(ExportConfig, main, "eval.export")
