"""Everything that a run reads, read and checked before JAX is imported, so that mistakes are answered at once."""

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bert_jax.batches.corpus import Corpus, make_corpus
from bert_jax.batches.tokenizer import Tokenizer, read_tokenizer
from bert_jax.config import SIZES, BertConfig
from bert_jax.data.public import default_folder
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Folder, Table, take_share
from bert_jax.data.tfds import Datasets
from bert_jax.definition import digest, find_tasks
from bert_jax.errors import InputError
from bert_jax.tasks import COURSE_TASKS, MASKED_LM, Split, Task
from bert_jax.weights.folder import find_weights, load_weights
from bert_jax.weights.layout import entries
from train.config import Tables
from train.extend import digests
from train.resolve import RunConfig, subset_shares
from train.schedulers import make_schedule

SPLITS: tuple[Split, ...] = ("train", "dev")
Source = Folder | Datasets  # a place to read splits of tasks from


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Settings, tables, vocabulary and weights of a run.

    weights: parts of the parameters, or None for a random start.
    source: where the model comes from, for people.
    own: the tasks of one's own among those that the settings name.
    """

    config: RunConfig
    tables: dict[Task, dict[Split, Table | Corpus]]
    bert: BertConfig
    tokenizer: Tokenizer
    weights: dict | None
    source: str
    own: tuple[Task, ...] = ()

    @property
    def max_length(self) -> int:
        """Tokens a text may have: what is asked for, and no more than the model has positions."""
        return min(self.config.reading.max_length, self.bert.max_position_embeddings)

    @property
    def schedule(self) -> list[str]:
        """The task of each update."""
        examples = {task.name: len(splits["train"].examples) for task, splits in self.tables.items()}
        training, scheduler = self.config.training, self.config.experiment.scheduler
        return make_schedule(scheduler, examples, training.batch_size, training.epochs, self.config.run.seed)

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each table, by file name, of definitions of tasks, of what extends the program, and so on."""
        tables = [table for splits in self.tables.values() for table in splits.values()]
        found = {name: sha256 for table in tables for name, sha256 in table.hashes.items()}
        found |= {f"{task.name}.toml": digest(task) for task in self.own}
        found |= digests()
        vocabulary = repr((self.tokenizer.settings, self.tokenizer.vocab))
        found["vocab.txt"] = hashlib.sha256(vocabulary.encode()).hexdigest()
        return found | ({"weights": _hash_tree(self.weights)} if self.weights else {})

    @property
    def checkpoint_bytes(self) -> int:
        """Size of one checkpoint, but for the heads: the encoder, with two moments a parameter if it is trained."""
        sizes = (math.prod(entry.shape) * len(entry.names) for entry in entries(self.bert))
        return (1 if self.config.training.mode == "pretrain" else 3) * 4 * sum(sizes)


def read_inputs(config: RunConfig) -> Inputs:
    """Reads what resolved settings name; the first thing that is wrong is an error.

    Raises:
      InputError: a table is missing or wrong.
      WeightsError: the weights are missing or do not fit.
    """
    tasks = run_tasks(config)
    have_weights = all(task.has_weights(config.reading.similarity_head) for task in tasks)
    if config.training.mode == "pretrain" and not have_weights:
        raise InputError("--mode=pretrain trains heads alone, and the head of --similarity_head=cosine has no weights")
    tables = read_tables(config)
    own = tuple(task for task in find_tasks(config.tables.tasks) if task.folder)
    if config.start.init:
        folder = find_weights(config.start.init)
        bert, weights = load_weights(folder)
        tokenizer = read_tokenizer(folder, bert.vocab_size)
        commit = f" at {folder.name}" if re.fullmatch("[0-9a-f]{40}", folder.name) else ""
        source = f"weights of {config.start.init}{commit}{_parts_in_words(config, tasks, weights)}"
        if config.training.mode != "mlm":  # which hands on what it does not train
            kept = {"bert", "pooler", *(task.name for task in tasks)}
            weights = {part: tree for part, tree in weights.items() if part in kept}
            _check_heads(config, folder, bert, tasks, weights)
        return Inputs(config, tables, bert, tokenizer, weights, source, own)
    if config.start.model not in SIZES:
        raise InputError(f"--model={config.start.model} is no size; there are {', '.join(SIZES)}")
    tokenizer = read_tokenizer(config.start.vocab or SAMPLE)
    bert = dataclasses.replace(SIZES[config.start.model], vocab_size=len(tokenizer.vocab))
    return Inputs(config, tables, bert, tokenizer, None, f"random {config.start.model}", own)


def find_source(tables: Tables, data_dir: Path | None = None) -> Source:
    """Where a run's tables are.

    Args:
      data_dir: a folder that has been named in its place, and in place of those of tasks of one's own.
    """
    if data_dir is None and tables.data == "tfds":
        folder = tables.tfds_dir or default_folder()
        manual_dir = tables.manual_dir or folder / "downloads" / "manual"
        return Datasets(folder, manual_dir, {"train": tables.train_split, "dev": tables.dev_split})
    return Folder(data_dir, replaces=True) if data_dir else Folder(tables.data_dir or SAMPLE)


def read_tables(config: RunConfig) -> dict[Task, dict[Split, Table | Corpus]]:
    """The train and dev splits of a run's tasks.

    Raises:
      InputError: a table is missing or wrong.
    """
    tables, source = config.tables, find_source(config.tables)
    return {task: {split: read_examples(tables, source, task, split) for split in SPLITS} for task in run_tasks(config)}


def _parts_in_words(config: RunConfig, tasks: Sequence[Task], weights: dict) -> str:
    """Which parts beside the encoder the weights have or lack."""
    if config.training.mode == "mlm":
        return "" if MASKED_LM.name in weights else " with a random masked-LM head"
    lacks = " with a random pooler" if config.reading.pooling == "cls" and "pooler" not in weights else ""
    heads = ", ".join(task.name for task in tasks if task.name in weights)
    return lacks + (f" and its heads of {heads}" if heads else "")


def _check_heads(config: RunConfig, folder: Path, bert: BertConfig, tasks: Sequence[Task], weights: dict) -> None:
    """Raises InputError if a head that came with the weights has other labels, or reads pairs in another way."""
    for task in tasks:
        if task.name in weights and not task.has_weights(config.reading.similarity_head):
            del weights[task.name]
        elif task.name in weights:
            inputs, outputs = weights[task.name]["dense"]["kernel"].shape
            if outputs != task.num_outputs:
                wanted = f"{outputs} outputs, but the task has {task.num_outputs}; give the task another name"
                raise InputError(f"{folder} has a head of {task.name} with {wanted}")
            texts = inputs // bert.hidden_size
            if texts != task.texts_read(config.reading.pair_encoding):
                other = "separate" if texts == 2 else "joint"
                raise InputError(f"{folder} has a head of {task.name} that needs --pair_encoding={other}")


def _hash_tree(tree: dict) -> str:
    """SHA-256 of the names and values of all arrays."""
    digest = hashlib.sha256()
    for name, value in sorted(tree.items()):
        digest.update(name.encode())
        digest.update(_hash_tree(value).encode() if isinstance(value, dict) else np.ascontiguousarray(value).data)
    return digest.hexdigest()


def run_tasks(config: RunConfig) -> tuple[Task, ...]:
    """What a run trains: the tasks that its settings name, or masked LM on their texts.

    Raises:
      InputError: they name something else.
    """
    tasks = find_tasks(config.tables.tasks)
    return (MASKED_LM,) if config.training.mode == "mlm" else tasks


def read_examples(tables: Tables, source: Source, task: Task, split: Split) -> Table | Corpus:
    """A split of one of a run's tasks; of masked LM, all texts of that split of the tasks that are named.

    Raises:
      InputError: a table is missing or wrong.
    """
    if task.is_masked_lm:
        return read_texts(source, find_tasks(tables.tasks), split, subset_shares(tables))
    return read_split(source, task, split, share=subset_shares(tables).get(task.name, 1.0))


def read_texts(source: Source, tasks: Sequence[Task], split: Split, shares: Mapping[str, float]) -> Corpus:
    """The texts of a split of some tasks, each once.

    Of the train split, none that stands in a dev or test table of these tasks or of the course's.

    Args:
      shares: of a task's train table, by name, where it is not the whole.

    Raises:
      InputError: a table is missing or wrong, or no text is left.
    """
    others: tuple[Split, ...] = ("dev", "test") if split == "train" else ()
    corpus = make_corpus(
        [read_split(source, task, split, labelled=False, share=shares.get(task.name, 1.0)) for task in tasks],
        held_out=[
            read_split(source, task, other, labelled=False)
            for task in dict.fromkeys((*COURSE_TASKS.values(), *tasks))
            for other in others
            if source.has(task, other)
        ],
    )
    if not corpus.examples:
        raise InputError(f"{source} leaves no text of the {split} tables for --mode=mlm: {corpus.left_out} left out")
    return corpus


def read_split(source: Source, task: Task, split: Split, labelled: bool = True, share: float = 1.0) -> Table:
    """A table; of a train table a share, if it is said.

    Raises:
      InputError: it is missing or wrong.
    """
    table = source.read(task, split, labelled)
    return take_share(table, share) if split == "train" and share < 1 else table
