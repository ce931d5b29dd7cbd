"""The folder of an export: checked before anything is computed, and written whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from bert_jax.batches.tokenizer import Tokenizer
from bert_jax.config import ModelConfig
from bert_jax.errors import InputError, StorageError
from bert_jax.files import replace_folder
from bert_jax.tasks import Task
from bert_jax.weights.folder import HEADS_FILE, save_model
from bert_jax.weights.interchange import write_modules, write_tokenizer
from eval.export.card import Card, render_card


def check_output(path: Path, run_dir: Path) -> None:
    """Raises an error unless the folder can be written without harm to what is there."""
    if (path.exists() and not path.is_dir()) or not path.absolute().parent.is_dir():
        raise StorageError(f"--output={path} is no folder and cannot be made one")
    try:
        inside = min((inner.name for inner in path.iterdir()), default=None) if path.exists() else None
    except OSError as error:
        raise StorageError(f"--output={path} cannot be read: {error.strerror}") from None
    if inside is not None:
        raise InputError(f"--output={path} holds {inside}; name a folder that is new or empty")
    if run_dir.resolve() in path.resolve().parents:
        raise InputError(f"--output={path} lies in the run's own folder; name one outside of it")


def find_classifier(name: str, tasks: Mapping[str, Task], model: ModelConfig) -> Task:
    """The task of a run whose head transformers can hold: one linear layer on the pooler's output for one text.

    Raises:
      InputError: it is none of the run's, or its head is another.
    """
    if name not in tasks or tasks[name].is_masked_lm:
        raise InputError(f"--task={name} is no task of this run; it has {', '.join(tasks)}")
    needed = {"pooling": "cls"} | ({"pair_encoding": "joint"} if tasks[name].is_pair else {})
    wrong = [f"--{setting}={value}" for setting, value in needed.items() if getattr(model, setting) != value]
    if wrong:
        reason = f"a BertForSequenceClassification needs a run with {' and '.join(wrong)}"
        raise InputError(f"--task={name} cannot be exported: {reason}; without --task its head is in {HEADS_FILE}")
    return tasks[name]


def write_export(path: Path, card: Card, params: dict, tokenizer: Tokenizer, max_length: int) -> None:
    """Writes a model as its card tells of it.

    Args:
      params: in memory, not on devices.
      max_length: tokens a text may have.

    Raises:
      StorageError: it cannot be written.
    """
    with replace_folder(path) as folder:
        save_model(folder, card.model.bert, params, card.classifier)
        write_tokenizer(folder, tokenizer, max_length, splits_special=not card.is_masked_lm)
        if not card.classifier and not card.is_masked_lm:
            write_modules(folder, card.model, params.get("pooler"), max_length)
        (folder / "README.md").write_text(render_card(card), encoding="utf-8")
