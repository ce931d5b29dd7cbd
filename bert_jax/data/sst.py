"""Stanford's files of SST, written as the course's tables: `python -m train.stanford --stanford_dir=S --data_dir=D`."""

import csv
import dataclasses
import io
from pathlib import Path

from bert_jax.data.stanford import read_stanford
from bert_jax.data.tables import Example
from bert_jax.errors import InputError, StorageError, refused
from bert_jax.files import write_atomically
from bert_jax.tasks import TASKS

SST = TASKS["sst"]


@dataclasses.dataclass(frozen=True)
class StanfordConfig:
    """Writes SST-5 as the course's tables, for --data_dir, from the files of Stanford's Sentiment Treebank."""

    stanford_dir: Path
    """Folder with datasetSentences.txt, datasetSplit.txt, dictionary.txt and sentiment_labels.txt."""
    data_dir: Path
    """Folder that gets ids-sst-train.csv, ids-sst-dev.csv and ids-sst-test-student.csv."""
    phrases: bool = False
    """Add labelled phrases of the train sentences to the train table."""


def format_table(examples: list[Example]) -> str:
    """The text of a table, as the strict reader reads it."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(("", "id", *SST.text_columns, SST.label_column))
    writer.writerows((n, row.id, *row.texts, f"{row.label:g}") for n, row in enumerate(examples))
    return text.getvalue()


def write_tables(flags: StanfordConfig) -> None:
    """Reads everything before anything is written, and writes over nothing."""
    rows = read_stanford(flags.stanford_dir, flags.phrases)
    paths = {split: flags.data_dir / SST.files[split][0] for split in rows}
    for path in paths.values():
        if path.exists():
            raise InputError(f"{path} is there already; name another --data_dir, or delete it")
    with refused(StorageError, f"{flags.data_dir} cannot be written"):
        flags.data_dir.mkdir(exist_ok=True)
        for split, examples in rows.items():
            write_atomically(paths[split], format_table(examples))
            print(f"{len(examples):>8,} rows  {paths[split]}")
