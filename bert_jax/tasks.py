"""The one table of tasks. Nothing outside this file asks for a task by its name."""

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Task:
    """One sentence task: where its rows are and what its labels mean.

    `files` holds, for each split, the names that the file goes by, most usual first. Labels lie in
    [0, max_label]; whole numbers unless the kind is similarity. `course_name` is what the course's
    prediction files and the flags of its starter code call it.
    """

    name: str
    kind: Kind
    files: dict[Split, tuple[str, ...]] = dataclasses.field(hash=False)
    text_columns: tuple[str, ...]
    label_column: str
    max_label: int
    course_name: str

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


PAIR = ("sentence1", "sentence2")

TASKS = {
    task.name: task
    for task in (
        Task("sst", "classification", _files("ids-sst", "sst"), ("sentence",), "sentiment", 4, "sst"),
        Task("cfimdb", "classification", _files("ids-cfimdb", "cfimdb"), ("sentence",), "sentiment", 1, "cfimdb"),
        Task("quora", "paraphrase", _files("quora"), PAIR, "is_duplicate", 1, "para"),
        Task("sts", "similarity", _files("sts"), PAIR, "similarity", 5, "sts"),
    )
}

# Masked LM reads texts of other tasks' tables and has no files of its own, so it cannot be named among them.
MASKED_LM = Task("mlm", "mlm", files={}, text_columns=("text",), label_column="", max_label=0, course_name="")


def find_tasks(names: str) -> tuple[Task, ...]:
    """The tasks named in a comma-separated list, in its order.

    Raises:
      InputError: the list is empty, or names a task twice or one that does not exist.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise InputError(f"--tasks={names!r} names no task; there are {', '.join(TASKS)}")
    for name in wanted:
        if name not in TASKS:
            raise InputError(f"--tasks names {name!r}, which is no task; there are {', '.join(TASKS)}")
        if wanted.count(name) > 1:
            raise InputError(f"--tasks names {name!r} more than once")
    return tuple(TASKS[name] for name in wanted)
