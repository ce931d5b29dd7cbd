"""Everything that a run reads, read and checked before JAX is imported, so that mistakes are answered at once."""

import dataclasses
import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bert_jax.config import SIZES, BertConfig
from bert_jax.data.corpus import Corpus, make_corpus
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Table, find_file, has_file, read_table
from bert_jax.errors import InputError
from bert_jax.tasks import MASKED_LM, TASKS, Split, Task, find_tasks
from bert_jax.tokenizer import Tokenizer, read_tokenizer
from bert_jax.weights import entries, find_weights, load_weights
from train.config import TrainConfig

SPLITS: tuple[Split, ...] = ("train", "dev")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Settings, tables, vocabulary and weights of a run.

    weights: parts of the parameters, or None for a random start.
    source: where the model comes from, for people.
    """

    config: TrainConfig
    tables: dict[Task, dict[Split, Table | Corpus]]
    bert: BertConfig
    tokenizer: Tokenizer
    weights: dict | None
    source: str

    @property
    def max_length(self) -> int:
        """Tokens a text may have: what is asked for, and no more than the model has positions."""
        return min(self.config.max_length, self.bert.max_position_embeddings)

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each table, by file name, of the vocabulary and of the weights."""
        paths = [path for splits in self.tables.values() for table in splits.values() for path in table.paths]
        contents = {path.name: path.read_bytes() for path in paths}
        contents["vocab.txt"] = repr((self.tokenizer.lowercase, self.tokenizer.vocab)).encode()
        found = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        return found | ({"weights": _hash_tree(self.weights)} if self.weights else {})

    @property
    def checkpoint_bytes(self) -> int:
        """Size of one checkpoint, or a little more: the encoder with two moments for each parameter."""
        sizes = (math.prod(entry.shape) * len(entry.names) for entry in entries(self.bert))
        return 3 * 4 * sum(sizes)


def read_inputs(config: TrainConfig) -> Inputs:
    """Reads what resolved settings name; the first thing that is wrong is an error.

    Raises:
      InputError: a table is missing or wrong.
      WeightsError: the weights are missing or do not fit.
    """
    tasks = run_tasks(config)
    if config.mode == "pretrain" and config.similarity_head == "cosine" and any(t.kind == "similarity" for t in tasks):
        raise InputError("--mode=pretrain trains heads alone, and the head of --similarity_head=cosine has no weights")
    tables: dict[Task, dict[Split, Table | Corpus]] = {
        task: {split: read_examples(config, config.data_dir, task, split) for split in SPLITS} for task in tasks
    }
    if config.init:
        folder = find_weights(config.init)
        bert, weights = load_weights(folder)
        tokenizer = read_tokenizer(folder, bert.vocab_size)
        part, called = (MASKED_LM.name, "masked-LM head") if config.mode == "mlm" else ("pooler", "pooler")
        missing = part not in weights and (part != "pooler" or config.pooling == "cls")
        if missing and config.mode == "pretrain":
            raise InputError(f"{folder} has no pooler, and --mode=pretrain would not train one; use --pooling=mean")
        if config.mode != "mlm":
            weights.pop(MASKED_LM.name, None)  # no task uses that head
        commit = f" at {folder.name}" if re.fullmatch("[0-9a-f]{40}", folder.name) else ""
        source = f"weights of {config.init}{commit}" + (f" with a random {called}" if missing else "")
        return Inputs(config, tables, bert, tokenizer, weights, source)
    if config.model not in SIZES:
        raise InputError(f"--model={config.model} is no size; there are {', '.join(SIZES)}")
    tokenizer = read_tokenizer(config.vocab or SAMPLE)
    bert = dataclasses.replace(SIZES[config.model], vocab_size=len(tokenizer.vocab))
    return Inputs(config, tables, bert, tokenizer, None, f"random {config.model}")


def _hash_tree(tree: dict) -> str:
    """SHA-256 of the names and values of all arrays."""
    digest = hashlib.sha256()
    for name, value in sorted(tree.items()):
        digest.update(name.encode())
        digest.update(_hash_tree(value).encode() if isinstance(value, dict) else np.ascontiguousarray(value).data)
    return digest.hexdigest()


def run_tasks(config: TrainConfig) -> tuple[Task, ...]:
    """What a run trains: the tasks that its settings name, or masked LM on their texts.

    Raises:
      InputError: they name something else.
    """
    tasks = find_tasks(config.tasks)
    return (MASKED_LM,) if config.mode == "mlm" else tasks


def read_examples(config: TrainConfig, data_dir: Path | None, task: Task, split: Split) -> Table | Corpus:
    """A split of one of a run's tasks; of masked LM, all texts of that split of the tasks that are named.

    Raises:
      InputError: a table is missing or wrong.
    """
    if task.kind == "mlm":
        return read_texts(data_dir, find_tasks(config.tasks), split)
    return read_split(data_dir, task, split)


def read_texts(data_dir: Path | None, tasks: Sequence[Task], split: Split) -> Corpus:
    """The texts of a split of some tasks, each once; of the train split, none that stands in any dev or test table.

    Raises:
      InputError: a table is missing or wrong, or no text is left.
    """
    folder = data_dir or SAMPLE
    others: tuple[Split, ...] = ("dev", "test") if split == "train" else ()
    corpus = make_corpus(
        [read_split(data_dir, task, split, labelled=False) for task in tasks],
        held_out=[
            read_split(data_dir, task, other, labelled=False)
            for task in TASKS.values()
            for other in others
            if has_file(folder, task, other)
        ],
    )
    if not corpus.examples:
        raise InputError(f"{folder} leaves no text of the {split} tables for --mode=mlm: {corpus.left_out} left out")
    return corpus


def read_split(data_dir: Path | None, task: Task, split: Split, labelled: bool = True) -> Table:
    """A table of the data folder, or of the sample where none is given.

    Raises:
      InputError: it is missing or wrong.
    """
    if data_dir is None and not has_file(SAMPLE, task, split):
        raise InputError(f"the embedded sample has no task {task.name}; --data_dir names a folder that has")
    return read_table(find_file(data_dir or SAMPLE, task, split), task, labelled)
