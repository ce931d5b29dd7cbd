"""Data that anyone may download: what there is, where, and the SHA-256 that it must have; and what it is read by.

Of GLUE and IMDB, address, size and hash are those that TensorFlow Datasets states for its own builders
(`url_checksums/glue.txt` and `imdb_reviews/checksums.tsv` in its package; a test compares them), and each file goes
under the name that a builder looks for in `downloads/manual`. So TFDS needs no network where they have been put. The
hash of the Sentiment Treebank is that of CorpusLoaders.jl, which refuses any other.
"""

import dataclasses
import os
import tomllib
from pathlib import Path
from typing import Literal

from bert_jax.tasks import COURSE_TASKS

# The files of the Sentiment Treebank that train.stanford reads, and the folder that they have in its archive.
TREEBANK = "stanfordSentimentTreebank"
TREEBANK_FILES = ("datasetSentences.txt", "datasetSplit.txt", "dictionary.txt", "sentiment_labels.txt")


@dataclasses.dataclass(frozen=True)
class PublicFile:
    """A file at its official address. `size`, in bytes, is None where nobody states it."""

    url: str
    name: str
    sha256: str
    size: int | None = None


@dataclasses.dataclass(frozen=True)
class PublicSet:
    """Files that belong together. They go into the data folder, or to where TFDS looks for them."""

    about: str
    files: tuple[PublicFile, ...]
    reader: Literal["stanford", "tfds"] = "tfds"

    def folder(self, data_dir: Path, tfds_dir: Path) -> Path:
        """Where its files go."""
        return data_dir if self.reader == "stanford" else tfds_dir / "downloads" / "manual"

    @property
    def megabytes(self) -> str:
        """Its size in words."""
        sizes = [file.size for file in self.files]
        return "size unknown" if None in sizes else f"{sum(size or 0 for size in sizes) / 1e6:,.1f} MB"


PUBLIC = {
    name: PublicSet(each["about"], tuple(PublicFile(**file) for file in each["files"]), each["reader"])
    for name, each in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()
}


def default_folder() -> Path:
    """TensorFlow Datasets' own folder."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def by_hand(data_dir: Path) -> str:
    """What no address is known of, and where it goes."""
    files = {name: ", ".join(names[0] for names in task.files.values()) for name, task in COURSE_TASKS.items()}
    rows = "\n".join(f"  {name:<7} {names}" for name, names in files.items())
    return f"""\
To be fetched by hand: the tables of CS224N, from data/ of the starter repository that the course hands
out. They go into a folder of your own, as they are, and --data_dir={data_dir} names it:
{rows}
Pretrained weights need no download of their own: --init=google-bert/bert-base-uncased fetches them from
the Hugging Face hub, and keeps them."""


def next_commands(names: list[str], data_dir: Path, tfds_dir: Path, usual_tfds_dir: Path) -> list[str]:
    """What trains on the sets that are there now.

    >>> next_commands(["qqp", "cola"], Path("data"), Path("/d"), Path("/d"))
    ['python -m train.main --data=tfds --tasks=qqp,cola --init=google-bert/bert-base-uncased']
    """
    commands = []
    if "sst" in names:
        commands.append(f"python -m train.stanford --stanford_dir={data_dir / TREEBANK} --data_dir={data_dir}/stanford")
    tasks = ",".join(name for name in names if PUBLIC[name].reader == "tfds")
    if tasks:
        place = "" if tfds_dir == usual_tfds_dir else f" --tfds_dir={tfds_dir}"
        commands.append(f"python -m train.main --data=tfds{place} --tasks={tasks} --init=google-bert/bert-base-uncased")
    return commands
