"""The one table of tasks. Nothing outside this file asks for a task by its name."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from bert_jax.errors import InputError

Kind = Literal["classification", "paraphrase", "similarity", "mlm"]
Split = Literal["train", "dev", "test"]

# The number that stands for a task's quality: in the mean that picks the best checkpoint, and in tables.
METRIC = {"classification": "accuracy", "paraphrase": "accuracy", "similarity": "pearson", "mlm": "accuracy"}

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

    `files` holds, for each split, the names that the file goes by, most usual first; tasks that are not the course's
    have none. Labels lie in [0, max_label]; whole numbers unless the kind is similarity. `course_name` is what
    prediction files call it, and the flags of the course's starter code. `label_words` say what each label means, from
    0 on. `tfds` names the data set and its config in
    TensorFlow Datasets, and `tfds_splits` what is read there as each split.
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

    @property
    def is_pair(self) -> bool:
        return len(self.text_columns) == 2

    @property
    def metric(self) -> str:
        return METRIC[self.kind]

    @property
    def num_labels(self) -> int:
        """Number of classes; similarity has none and counts as one output."""
        return self.max_label + 1 if self.kind != "similarity" else 1

    @property
    def num_outputs(self) -> int:
        """Numbers that the task's head gives for an example: a logit a class, or one."""
        return self.num_labels if self.kind == "classification" else 1


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

# Masked LM reads texts of other tasks' tables and has no files of its own, so it cannot be named among them.
MASKED_LM = Task("mlm", "mlm", files={}, text_columns=("text",), label_column="", max_label=0, course_name="")


def find_tasks(names: str, known: Mapping[str, Task] = TASKS) -> tuple[Task, ...]:
    """The tasks named in a comma-separated list, in its order.

    Args:
      known: those that can be named.

    Raises:
      InputError: the list is empty, or names a task twice or one that does not exist.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise InputError(f"--tasks={names!r} names no task; there are {', '.join(known)}")
    for name in wanted:
        if name not in known:
            raise InputError(f"--tasks names {name!r}, which is no task here; there are {', '.join(known)}")
        if wanted.count(name) > 1:
            raise InputError(f"--tasks names {name!r} more than once")
    return tuple(known[name] for name in wanted)
