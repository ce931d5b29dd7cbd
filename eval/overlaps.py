"""What is surprising about a folder's tables and bears on scores: labels, repeated rows, rows of dev that train has.

Two texts count as the same if they have the same words in the same order: runs of letters and digits, whatever their
case, and whatever stands between them. A pair is the same as another in either order. On the course's tables this is
the rule that finds what is known of them. It finds a text with a comma more, and takes "C++" for "C" now and then; the
rule by which masked-LM pretraining holds texts out, `bert_jax.batches.corpus.normalize`, does neither.
"""

import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bert_jax.batches.corpus import normalize
from bert_jax.data.tables import Example, Folder, Table
from bert_jax.errors import InputError
from bert_jax.tasks import Split, Task

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
HELD_OUT: tuple[tuple[Split, Split], ...] = (("dev", "train"), ("test", "train"), ("test", "dev"))


def audit_tables(folder: Path, tasks: Sequence[Task]) -> dict[str, Any]:
    """Everything that is counted, of each task that a folder has; it can be written as JSON.

    `missing` has the files that are not there, under their usual names.

    Raises:
      InputError: the folder has no table of these tasks, or one that is wrong.
    """
    tables = {task: read_splits(folder, task) for task in tasks}
    if not any(tables.values()):
        if not os.path.isdir(folder):  # noqa: PTH112  Path.is_dir raises where the name is too long
            raise InputError(f"{folder} is not a folder; --data_dir is the folder with {tasks[0].files['train'][0]}")
        raise InputError(f"{folder} has no table of {', '.join(task.name for task in tasks)}")
    return {
        "folder": str(folder),
        "missing": [task.files[split][0] for task in tasks for split in task.files if split not in tables[task]],
        "tasks": {
            task.name: {"folder": str(task.folder or folder), **audit_task(task, splits)}
            for task, splits in tables.items()
            if splits
        },
    }


def read_splits(folder: Path, task: Task) -> dict[Split, Table]:
    """The tables of a task that a folder has.

    Raises:
      InputError: one of them is wrong.
    """
    source = Folder(folder)
    return {split: source.read(task, split, labelled=split != "test") for split in SPLITS if source.has(task, split)}


def audit_task(task: Task, tables: dict[Split, Table]) -> dict[str, Any]:
    """What `audit_tables` says of one task; a split that is missing is in none of the counts."""
    examples = {split: table.examples for split, table in tables.items()}
    found: dict[str, Any] = {
        "kind": task.kind,
        "splits": {split: audit_split(task, table) for split, table in tables.items()},
        "shared": [
            {"rows_of": held_out, "in": other, **count_shared(examples[held_out], examples[other])}
            for held_out, other in HELD_OUT
            if held_out in examples and other in examples
        ],
    }
    if "train" in examples:
        found["conflicts"] = count_conflicts(examples["train"])
    return found


def audit_split(task: Task, table: Table) -> dict[str, Any]:
    """Counts of one table.

    All but `rows` and `without_label` are of the rows that are used: those with a label, or all of a test table.

    Returns:
      empty_texts: texts without a character other than white space.
      repeated: how many texts or pairs stand more than once, and in how many rows.
      equal_pairs: rows whose two texts are the same; only of pairs.
      words: of a text, with white space between.
    """
    examples = table.examples
    texts = [text for example in examples for text in example.texts]
    found = {
        "file": table.path.name,
        "rows": len(examples) + table.skipped,
        "without_label": table.skipped,
        "labels": count_labels(task, examples),
        "empty_texts": sum(not text.strip() for text in texts),
        "repeated": count_repeated(examples),
        "words": measure_lengths(len(text.split()) for text in texts),
    }
    if task.is_pair:
        found["equal_pairs"] = sum(len(set(row_key(example))) == 1 for example in examples if is_full(example))
    return found


def text_key(text: str) -> str:
    """What two texts are compared by; a text without a word is compared as it is spelled.

    >>> text_key("It 's a FILM .") == text_key("It's a film"), text_key("?") == text_key("!")
    (True, False)
    """
    return " ".join(re.findall(r"\w+", text.casefold())) or normalize(text)


def row_key(example: Example) -> tuple[str, ...]:
    """What two rows are compared by: their texts, in any order."""
    return tuple(sorted(text_key(text) for text in example.texts))


def is_full(example: Example) -> bool:
    """Whether a row has no empty text; rows that have one are not compared with each other."""
    return all(text.strip() for text in example.texts)


def count_labels(task: Task, examples: Sequence[Example]) -> dict[str, int]:
    """Rows of each label; of similarity, from that whole number up to the next. None in a test table.

    A label that no row has is there with 0.
    """
    given = [example.label for example in examples if example.label is not None]
    several = [[number for number, there in enumerate(label) if there] for label in given if isinstance(label, tuple)]
    counts = Counter(itertools.chain(*several, (int(label) for label in given if not isinstance(label, tuple))))
    names = task.labels or range(task.max_label + 1)
    return {str(name): counts[label] for label, name in enumerate(names)} if counts else {}


def count_repeated(examples: Sequence[Example]) -> dict[str, int]:
    """How many texts or pairs stand more than once in a table (`distinct`), and how many rows have them."""
    counts = [count for count in Counter(map(row_key, filter(is_full, examples))).values() if count > 1]
    return {"distinct": len(counts), "rows": sum(counts)}


def count_conflicts(examples: Sequence[Example]) -> dict[str, int]:
    """How many texts or pairs stand in a table with more than one label (`distinct`), and how many rows have them."""
    labels = defaultdict(list)
    for example in filter(is_full, examples):
        labels[row_key(example)].append(example.label)
    counts = [len(given) for given in labels.values() if len(set(given)) > 1]
    return {"distinct": len(counts), "rows": sum(counts)}


def count_shared(examples: Sequence[Example], others: Sequence[Example]) -> dict[str, int]:
    """Rows of one table whose text or pair stands in another as well.

    Returns:
      rows: how many; each row counts, also where the table has the text twice.
      of: the rows of the first table.
      sentences, rows_with_sentence: only of pairs: different single texts that stand in both tables, wherever in their
        pairs, and the rows of the first table that have one.
    """
    known = {row_key(example) for example in filter(is_full, others)}
    found = {"rows": sum(row_key(example) in known for example in filter(is_full, examples)), "of": len(examples)}
    if len(examples[0].texts) == 2:
        sentences = _sentences(examples) & _sentences(others)
        found["sentences"] = len(sentences)
        found["rows_with_sentence"] = sum(not sentences.isdisjoint(row_key(example)) for example in examples)
    return found


def measure_lengths(lengths: Iterable[int]) -> dict[str, int]:
    """The length that half of the texts do not exceed, that 95 % do not, and the longest.

    >>> measure_lengths(range(1, 101))
    {'median': 50, 'p95': 95, 'longest': 100}
    """
    ranked, percents = sorted(lengths), {"median": 50, "p95": 95, "longest": 100}
    return {name: ranked[-(-len(ranked) * percent // 100) - 1] for name, percent in percents.items()}


def _sentences(examples: Sequence[Example]) -> set[str]:
    """The single texts of a table, but for empty ones."""
    return {text_key(text) for example in examples for text in example.texts} - {""}
