"""Data that anyone may download: what there is, where, and the SHA-256 that it must have; and what it is read by.

Of GLUE and IMDB, address, size and hash are those that TensorFlow Datasets states for its own builders
(`url_checksums/glue.txt` and `imdb_reviews/checksums.tsv` in its package; a test compares them), and each file goes
under the name that a builder looks for in `downloads/manual`. So TFDS needs no network where they have been put. The
hash of the Sentiment Treebank is that of CorpusLoaders.jl, which refuses any other.
"""

import dataclasses
import os
from pathlib import Path
from typing import Literal

from bert_jax.tasks import COURSE_TASKS

GLUE = "https://dl.fbaipublicfiles.com/glue/data"
MRPC = "https://dl.fbaipublicfiles.com/senteval/senteval_data"
MRPC_DEV = "https://firebasestorage.googleapis.com/v0/b/mtl-sentence-representations.appspot.com/o"

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


def _glue(name: str, sha256: str, size: int) -> tuple[PublicFile, ...]:
    return (PublicFile(f"{GLUE}/{name}", name, sha256, size),)


PUBLIC: dict[str, PublicSet] = {
    "sst": PublicSet(
        "Stanford Sentiment Treebank, five labels",
        (
            PublicFile(
                f"https://nlp.stanford.edu/~socherr/{TREEBANK}.zip",
                f"{TREEBANK}.zip",
                "3f5209483b46bbf129cacbbbe6ae02fe780407034f61cf6342b7833257c3f1db",
            ),
        ),
        "stanford",
    ),
    "sst2": PublicSet(
        "GLUE's SST-2, two labels",
        _glue("SST-2.zip", "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa", 7439277),
    ),
    "qqp": PublicSet(
        "GLUE's Quora question pairs",
        _glue("QQP.zip", "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0", 41696084),
    ),
    "stsb": PublicSet(
        "GLUE's STS benchmark",
        _glue("STS-B.zip", "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85", 802872),
    ),
    "mrpc": PublicSet(
        "GLUE's Microsoft paraphrases",
        (
            PublicFile(
                f"{MRPC_DEV}/data%2Fmrpc_dev_ids.tsv?alt=media&token=ec5c0836-31d5-48f4-b431-7480817f1adc",
                "data_mrpc_dev_ids.tsv",
                "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7",
                6222,
            ),
            PublicFile(
                f"{MRPC}/msr_paraphrase_train.txt",
                "msr_paraphrase_train.txt",
                "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
                1047044,
            ),
            PublicFile(
                f"{MRPC}/msr_paraphrase_test.txt",
                "msr_paraphrase_test.txt",
                "a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784",
                441275,
            ),
        ),
    ),
    "cola": PublicSet(
        "GLUE's linguistic acceptability",
        _glue("CoLA.zip", "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff", 376971),
    ),
    "imdb": PublicSet(
        "IMDB reviews, two labels",
        (
            PublicFile(
                "http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                "aclImdb_v1.tar.gz",
                "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
                84125825,
            ),
        ),
    ),
}


def default_folder() -> Path:
    """TensorFlow Datasets' own folder."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def by_hand(data_dir: Path) -> str:
    """What no address is known of, and where it goes."""
    rows = [
        f"  {name:<7} {', '.join(names[0] for names in task.files.values())}" for name, task in COURSE_TASKS.items()
    ]
    return "\n".join(
        [
            "To be fetched by hand: the tables of CS224N, from data/ of the starter repository that the course hands",
            f"out. They go into a folder of your own, as they are, and --data_dir={data_dir} names it:",
            *rows,
            "Pretrained weights need no download of their own: --init=google-bert/bert-base-uncased fetches them from",
            "the Hugging Face hub, and keeps them.",
        ]
    )


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
