"""The one table of tasks, and rows of one's own. Nothing outside this file asks for a task by its name."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Literal

from bert_jax.definition import METRICS, NAME, read_definition, render_definition
from bert_jax.errors import InputError, perhaps

Kind = Literal["classification", "paraphrase", "similarity", "mlm"]
Split = Literal["train", "dev", "test"]

# The heading of the predictions in the course's files, one of them misspelt.
PREDICTION_COLUMN = {
    "classification": "Predicted_Sentiment",
    "paraphrase": "Predicted_Is_Paraphrase",
    "similarity": "Predicted_Similiary",
}

TFDS_SPLITS: dict[Split, str] = {"train": "train", "dev": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True)
class Task:
    """One sentence task: where its rows are and what its labels mean.

    `files` holds, for each split, the names that the file goes by, most usual first; tasks of TensorFlow Datasets have
    none. Labels lie in [0, max_label]; whole numbers unless the kind is similarity. `course_name` is what
    prediction files call it, and the flags of the course's starter code. `label_words` say what each label means, from
    0 on. `tfds` names the data set and its config in
    TensorFlow Datasets, and `tfds_splits` what is read there as each split.

    The rest is for tasks of one's own: `folder` is where the files are, which other tasks have in the run's data
    folder. `labels` are those in the table, in the order of the classes. Without an `id_column` rows go by their line.
    `metric` is the score that stands for the task's quality, in tables and in the mean that picks the best checkpoint.
    """

    name: str
    kind: Kind
    files: dict[Split, tuple[str, ...]] = dataclasses.field(hash=False)
    text_columns: tuple[str, ...]
    label_column: str
    max_label: int
    course_name: str
    label_words: tuple[str, ...] = ()
    tfds: str = ""
    tfds_splits: Mapping[Split, str] = dataclasses.field(default_factory=lambda: dict(TFDS_SPLITS), hash=False)
    folder: Path | None = None
    labels: tuple[str | int, ...] = ()
    delimiter: str = "\t"
    id_column: str | None = "id"
    metric: str = ""

    def __post_init__(self):
        object.__setattr__(self, "metric", self.metric or METRICS[self.kind][0])

    @property
    def is_pair(self) -> bool:
        return len(self.text_columns) == 2

    @property
    def num_labels(self) -> int:
        """Number of classes; similarity has none and counts as one output."""
        return self.max_label + 1 if self.kind != "similarity" else 1

    @property
    def num_outputs(self) -> int:
        """Numbers that the task's head gives for an example: a logit a class, or one."""
        return self.num_labels if self.kind == "classification" else 1

    @property
    def prediction_column(self) -> str:
        """The heading of its predictions in the course's files."""
        return f"Predicted_{self.label_column}" if self.folder else PREDICTION_COLUMN[self.kind]

    @property
    def digest(self) -> str:
        """SHA-256 of the definition of a task of one's own, but for where its tables are, which have hashes."""
        return hashlib.sha256(self.definition(with_files=False).encode()).hexdigest()

    def definition(self, with_files: bool = True) -> str:
        """The file that defines a task of one's own."""
        values = {name: value for name, value in vars(self).items() if with_files or name not in ("folder", "files")}
        return render_definition(values)


def _files(stem: str, *older: str) -> dict[Split, tuple[str, ...]]:
    """CS224N's names for a task's files; `older` is the stem of the CMU format's `label ||| text` files."""
    return {
        "train": (f"{stem}-train.csv", *(f"{name}-train.txt" for name in older)),
        "dev": (f"{stem}-dev.csv", *(f"{name}-dev.txt" for name in older)),
        "test": (f"{stem}-test-student.csv", *(f"{name}-test.txt" for name in older)),
    }


CLASSES: Kind = "classification"
SENTIMENT = ("very negative", "negative", "neutral", "positive", "very positive")
POLES, SAME = ("negative", "positive"), ("not a paraphrase", "a paraphrase")
# Those that the annotators of STS were given (Agirre et al., 2013), a little shortened.
NEARNESS = ("different topics", "same topic", "some details shared", "roughly the same", "mostly the same", "the same")
ONE, PAIR = ("sentence",), ("sentence1", "sentence2")
# IMDB has no dev split: the last tenth of its train split, which TFDS has shuffled, is held out as one.
NO_DEV: dict[Split, str] = {"train": "train[:90%]", "dev": "train[90%:]", "test": "test"}

TASKS = {
    task.name: task
    for task in (
        Task("sst", CLASSES, _files("ids-sst", "sst"), ONE, "sentiment", 4, "sst", SENTIMENT, "minbert/sst"),
        Task("cfimdb", CLASSES, _files("ids-cfimdb", "cfimdb"), ONE, "sentiment", 1, "cfimdb", POLES, "minbert/cfimdb"),
        Task("quora", "paraphrase", _files("quora"), PAIR, "is_duplicate", 1, "para", SAME, "minbert/quora"),
        Task("sts", "similarity", _files("sts"), PAIR, "similarity", 5, "sts", NEARNESS, "minbert/sts"),
        Task("sst2", CLASSES, {}, ONE, "label", 1, "sst2", POLES, "glue/sst2"),
        Task("qqp", "paraphrase", {}, ("question1", "question2"), "label", 1, "qqp", SAME, "glue/qqp"),
        Task("stsb", "similarity", {}, PAIR, "label", 5, "stsb", NEARNESS, "glue/stsb"),
        Task("mrpc", "paraphrase", {}, PAIR, "label", 1, "mrpc", SAME, "glue/mrpc"),
        Task("cola", CLASSES, {}, ONE, "label", 1, "cola", ("unacceptable", "acceptable"), "glue/cola"),
        Task("imdb", CLASSES, {}, ("text",), "label", 1, "imdb", POLES, "imdb_reviews/plain_text", NO_DEV),
    )
}
COURSE_TASKS = {name: task for name, task in TASKS.items() if task.files}

# What the parameters have beside heads of tasks, and so no task is called.
PARTS = ("bert", "pooler", "mlm")

# Masked LM reads texts of other tasks' tables and has no files of its own, so it cannot be named among them.
MASKED_LM = Task("mlm", "mlm", files={}, text_columns=("text",), label_column="", max_label=0, course_name="")


def find_tasks(names: str, known: Mapping[str, Task] = TASKS) -> tuple[Task, ...]:
    """The tasks named in a comma-separated list, in its order. What ends in .toml is the file of a task of one's own.

    Args:
      known: those that can be named.

    Raises:
      InputError: the list is empty, or names a task twice or one that does not exist, or a file cannot be used.
    """
    wanted = split_names(names)
    if not wanted:
        raise InputError(f"--tasks={names!r} names no task; there are {', '.join(known)}")
    for name in wanted:
        if name not in known and not name.endswith(".toml"):
            guess = perhaps(name, known)
            raise InputError(f"--tasks names {name!r}, which is no task here{guess}; there are {', '.join(known)}")
    tasks = tuple(known[name] if name in known else read_task(Path(name)) for name in wanted)
    names_found = [task.name for task in tasks]
    for name in names_found:
        if names_found.count(name) > 1:
            raise InputError(f"--tasks names {name!r} more than once")
    return tasks


def split_names(names: str) -> list[str]:
    """The parts of a comma-separated list of tasks."""
    return [name.strip() for name in names.split(",") if name.strip()]


def plain_names(names: str) -> str:
    """A list of tasks without the folders of files: what the tasks are called.

    >>> plain_names("sst,examples/topic.toml")
    'sst,topic'
    """
    parts = split_names(names)
    return ",".join(PurePath(part).stem if part.endswith(".toml") else part for part in parts)


def read_task(path: Path) -> Task:
    """A task of one's own, called after its file.

    Raises:
      InputError: `path: key: what was wrong, what is wanted`.
    """
    name = path.stem
    if not NAME.fullmatch(name):
        raise InputError(f"{path}: the file is called after the task: small letters, digits and _, as in topic.toml")
    if name in (*TASKS, *PARTS):
        taken = "a part of the model" if name in PARTS else "a task that is here already"
        raise InputError(f"{path}: {name} is {taken}; give the file another name")
    values: dict[str, Any] = read_definition(path)
    return Task(name=name, course_name=name, **values)
