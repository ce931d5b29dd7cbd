"""The one table of kinds and the one of tasks. Nothing outside this file asks for either by its name."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from bert_jax.errors import quote

Split = Literal["train", "dev", "test"]
Label = float | tuple[float, ...]  # of an example; several numbers where the kind has several

TFDS_SPLITS: dict[Split, str] = {"train": "train", "dev": "validation", "test": "test"}
NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?", re.IGNORECASE)  # float() takes 1_0, ٣ and a cut-off 4. too
WHOLE = re.compile(r"([+-]?[0-9]{1,99})(\.0+)?")


@dataclasses.dataclass(frozen=True)
class Task:
    """One sentence task: where its rows are and what its labels mean.

    `files` holds, for each split, the names that the file goes by, most usual first; tasks of TensorFlow Datasets have
    none. Labels lie in [0, max_label]; whole numbers unless they are graded. `course_name` is what
    prediction files call it, and the flags of the course's starter code. `label_words` say what each label means, from
    0 on. `tfds` names the data set and its config in
    TensorFlow Datasets, and `tfds_splits` what is read there as each split.

    The rest is for tasks of one's own: `folder` is where the files are, which other tasks have in the run's data
    folder. `labels` are those in the table, in the order of the classes. Without an `id_column` rows go by their line.
    `metric` is the score that stands for the task's quality, in tables and in the mean that picks the best checkpoint.
    """

    name: str
    kind: str
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
        object.__setattr__(self, "metric", self.metric or KINDS[self.kind].metrics[0])

    @property
    def is_pair(self) -> bool:
        return len(self.text_columns) == 2

    @property
    def is_graded(self) -> bool:
        """Whether its labels are numbers of a scale, not classes."""
        return KINDS[self.kind].graded

    @property
    def is_masked_lm(self) -> bool:
        """Whether it predicts masked tokens of texts that have no labels."""
        return KINDS[self.kind].masked

    @property
    def num_labels(self) -> int:
        """Number of classes; a graded task has none and counts as one output."""
        return 1 if self.is_graded else self.max_label + 1

    @property
    def num_outputs(self) -> int:
        """Numbers that the task's head gives for an example: a logit a class, or one."""
        return self.num_labels if KINDS[self.kind].per_class else 1

    @property
    def prediction_column(self) -> str:
        """The heading of its predictions in the course's files."""
        return f"Predicted_{self.label_column}" if self.folder else KINDS[self.kind].prediction_column

    def has_weights(self, similarity_head: str) -> bool:
        """Whether its head has weights in a model with that similarity head; the cosine of two embeddings has none."""
        return not (KINDS[self.kind].may_be_cosine and similarity_head == "cosine")

    def texts_read(self, pair_encoding: str) -> int:
        """Embeddings that its head reads of an example: two of a pair that is encoded as two texts."""
        return 2 if self.is_pair and pair_encoding == "separate" else 1


def read_label(task: Task, raw: str) -> Label:
    """A label as a table has it -> its number: of a class, or on the scale.

    Raises:
      ValueError: what is wrong with it, after the name of its column.
    """
    raw = raw.strip() if task.labels else raw
    if task.labels:  # a whole number may be written as 1 or as 1.0
        whole = None if isinstance(task.labels[0], str) else WHOLE.fullmatch(raw)
        label = int(whole[1]) if whole else raw
        if label not in task.labels:
            wanted = ", ".join(quote(each) for each in task.labels[:10]) + (" ..." if len(task.labels) > 10 else "")
            raise ValueError(f"is {quote(raw)}, none of {wanted}")
        return float(task.labels.index(label))
    if not NUMBER.fullmatch(raw.strip()):
        raise ValueError(f"is {quote(raw)}, not a number")
    label = float(raw)
    if not 0 <= label <= task.max_label:
        raise ValueError(f"is {raw.strip()}, outside 0 to {task.max_label}")
    if not task.is_graded and label != int(label):
        raise ValueError(f"is {raw.strip()}, not a whole number")
    return label


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the tasks of a kind have in common before anything is computed.

    A kind has three more rows: its head in `bert_jax.heads.HEADS`, its loss in `train.losses.LOSSES`, and its scores
    and words in `eval.metrics.SCORES`. One from outside says the rest by the first of them.

    texts: how many an example may have.
    metrics: scores that may stand for a task's quality; the first does unless the task names another.
    labels: the two that a task has which names none, first the one that means no.
    graded: labels are numbers of a scale, not classes.
    per_class: a head gives a logit a class, not one number.
    masked: masked tokens are predicted; there are no labels.
    may_be_cosine: the head is what the model's `similarity_head` says.
    read: a label as a table has it -> its number, or numbers; raises what `read_label` raises.
    prediction_column: the heading of the predictions in the course's files.
    problem_type, hub_task: what transformers and the hub call it.
    """

    texts: tuple[int, ...]
    metrics: tuple[str, ...]
    labels: tuple[str | int, ...] = ()
    graded: bool = False
    per_class: bool = False
    masked: bool = False
    may_be_cosine: bool = False
    read: Callable[[Task, str], Label] = read_label
    prediction_column: str = ""
    problem_type: str = "regression"
    hub_task: str = "text-classification"


# The headings of predictions are the course's, one of them misspelt.
KINDS: dict[str, Kind] = {
    "classification": Kind(
        (1, 2),
        ("accuracy", "macro_f1"),
        per_class=True,
        prediction_column="Predicted_Sentiment",
        problem_type="single_label_classification",
    ),
    "paraphrase": Kind(
        (2,),
        ("accuracy", "macro_f1"),
        labels=(0, 1),
        prediction_column="Predicted_Is_Paraphrase",
        problem_type="multi_label_classification",
    ),
    "similarity": Kind(
        (2,),
        ("pearson", "spearman"),
        graded=True,
        may_be_cosine=True,
        prediction_column="Predicted_Similiary",
        hub_task="sentence-similarity",
    ),
    "mlm": Kind((1,), ("accuracy",), masked=True, hub_task="fill-mask"),
}


def _files(stem: str, *older: str) -> dict[Split, tuple[str, ...]]:
    """CS224N's names for a task's files; `older` is the stem of the CMU format's `label ||| text` files."""
    return {
        "train": (f"{stem}-train.csv", *(f"{name}-train.txt" for name in older)),
        "dev": (f"{stem}-dev.csv", *(f"{name}-dev.txt" for name in older)),
        "test": (f"{stem}-test-student.csv", *(f"{name}-test.txt" for name in older)),
    }


CLASSES = "classification"
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
