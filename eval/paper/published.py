"""What the paper reports, as data: which runs its tables are made of, what each cell is, and the number printed there.

The numbers are those of the CS224N project report that this program follows (BERT-base, the course's splits), and for
single tasks those of the course's own handout.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Split = Literal["train", "dev"]

SUITED = "suited"  # marks the runs whose last stage has the rate that suits the weights at hand


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run of a recipe, with some settings of `train.main` in place of the recipe's.

    name: of its folder.
    share: of Quora's train table.
    """

    name: str
    recipe: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    share: float = 1.0


@dataclasses.dataclass(frozen=True)
class Cell:
    """Where a number stands: the score `metric` of a task, or one entry of it, on a split, after a stage.

    metric: of `eval.metrics.score_task`; or "mean3", of all tasks.
    entry: of a score by class.
    """

    split: Split
    task: str
    metric: str
    entry: int | None = None
    stage: str = "finetune"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table: our run, and what the paper says in each column; None where it says nothing."""

    label: str
    experiment: str
    paper: tuple[float | None, ...]
    stage: str | None = None  # in place of that of the columns


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A table of the paper, or one beside it."""

    title: str
    columns: Mapping[str, Cell]
    rows: tuple[Row, ...]
    note: str = ""


USUAL_MLM = Experiment("in_turn_mlm-mlm_lr=usual", "in_turn_mlm", {"mlm_lr": "usual"})
MULTITASK = ("baseline", "in_turn", "mtdnn", "in_turn_mlm", "in_turn_mlm_cosine")
SHARES = (1.0, 0.5, 0.25, 0.125)  # of Quora's train table, in Figure 1
FIGURE_EPOCHS = 5

DEV = {
    "SST accuracy": Cell("dev", "sst", "accuracy"),
    "QQP accuracy": Cell("dev", "quora", "accuracy"),
    "STS Pearson": Cell("dev", "sts", "pearson"),
    "mean": Cell("dev", "", "mean3"),
}
TRAIN = {
    "SST accuracy": Cell("train", "sst", "accuracy"),
    "QQP accuracy": Cell("train", "quora", "accuracy"),
    "STS Pearson": Cell("train", "sts", "pearson"),
}
CLASSES = {f"class {label}": Cell("dev", "sst", "f1", label) for label in range(5)}

TABLES: dict[int, PaperTable] = {
    1: PaperTable(
        "Mixing the tasks: dev",
        DEV,
        (
            Row("baseline", "baseline", (0.262, 0.375, 0.001, None)),
            Row("in turn", "in_turn", (0.478, 0.811, 0.403, None)),
            Row("MT-DNN", "mtdnn", (0.511, 0.522, 0.395, None)),
        ),
    ),
    2: PaperTable(
        "Mixing the tasks: train, and F1 of the Quora pairs that are paraphrases on dev",
        {**TRAIN, "QQP dev F1": Cell("dev", "quora", "f1", 1)},
        (
            Row("in turn", "in_turn", (0.989, 0.933, 0.987, 0.787)),
            Row("MT-DNN", "mtdnn", (0.993, 0.686, 0.986, 0.601)),
        ),
    ),
    3: PaperTable(
        "In-domain masked LM, and similarity as a cosine: dev",
        DEV,
        (
            Row("in turn", "in_turn", (0.478, 0.811, 0.403, None)),
            Row("in turn, masked LM", "in_turn_mlm", (0.506, 0.806, 0.442, 0.585)),
            Row("the same, cosine", "in_turn_mlm_cosine", (0.502, 0.807, 0.403, None)),
        ),
    ),
    4: PaperTable(
        "In-domain masked LM: train",
        TRAIN,
        (
            Row("without masked LM", "in_turn", (0.962, 0.975, 0.943)),
            Row("with masked LM", "in_turn_mlm", (0.984, 0.971, 0.957)),
        ),
    ),
    5: PaperTable(
        "In-domain masked LM: F1 of each class of SST, dev",
        CLASSES,
        (
            Row("without masked LM", "in_turn", (0.471, 0.513, 0.393, 0.528, 0.430)),
            Row("with masked LM", "in_turn_mlm", (0.501, 0.551, 0.405, 0.553, 0.454)),
        ),
    ),
    6: PaperTable(
        "Single tasks: dev",
        {"accuracy": Cell("dev", "", "accuracy")},
        (
            Row("SST, frozen", "sst_single", (0.390,), "pretrain"),
            Row("SST, full", "sst_single", (0.511,)),
            Row("CFIMDB, frozen", "cfimdb_single", (0.780,), "pretrain"),
            Row("CFIMDB, full", "cfimdb_single", (0.963,)),
        ),
        "Frozen: the course's handout, which has .515 and .966 for full.",
    ),
    7: PaperTable(
        "The rate of masked LM: held-out texts, then dev of the tasks",
        {
            "masked accuracy": Cell("dev", "mlm", "accuracy", stage="mlm"),
            "perplexity": Cell("dev", "mlm", "perplexity", stage="mlm"),
            **DEV,
        },
        (
            Row("1e-3 (the paper's)", "in_turn_mlm", (None, None, 0.506, 0.806, 0.442, 0.585)),
            Row("5e-5 (the usual one)", USUAL_MLM.name, (None,) * 6),
        ),
    ),
    8: PaperTable(
        "The recipes with a learning rate that suits the weights at hand: dev",
        DEV,
        (
            Row("baseline", f"baseline-{SUITED}", (0.262, 0.375, 0.001, None)),
            Row("in turn", f"in_turn-{SUITED}", (0.478, 0.811, 0.403, None)),
            Row("MT-DNN", f"mtdnn-{SUITED}", (0.511, 0.522, 0.395, None)),
            Row("in turn, masked LM", f"in_turn_mlm-{SUITED}", (0.506, 0.806, 0.442, 0.585)),
            Row("the same, cosine", f"in_turn_mlm_cosine-{SUITED}", (0.502, 0.807, 0.403, None)),
        ),
    ),
}


def find_experiment(name: str, rate: float) -> Experiment:
    """The run that a row is read from.

    Args:
      rate: the learning rate of the last stage of those that are "suited"; their masked LM has the usual one.
    """
    if name == USUAL_MLM.name:
        return USUAL_MLM
    recipe = name.removesuffix(f"-{SUITED}")
    if recipe == name:
        return Experiment(name, recipe)
    return Experiment(name, recipe, {"lr": rate} | ({"mlm_lr": "usual"} if "mlm" in recipe else {}))


def size_study(scheduler: str, share: float, epochs: int) -> Experiment:
    """One point of Figure 1: a scheduler on a share of Quora's train table."""
    return Experiment(f"size-{scheduler}-{share:g}", scheduler, {"epochs": epochs}, share)


def wanted_experiments(
    tables: Sequence[int], shares: Sequence[float], rate: float, figure_epochs: int
) -> list[Experiment]:
    """The runs that some tables, and the figure at some shares, are made of, each once.

    Those that begin with stages of others come after them.
    """
    names = dict.fromkeys(row.experiment for number in tables for row in TABLES[number].rows)
    found = [find_experiment(name, rate) for name in names]
    found.sort(
        key=lambda experiment: (experiment.name.endswith(SUITED), len(experiment.settings), "cosine" in experiment.name)
    )
    return found + [
        size_study(scheduler, share, figure_epochs) for share in shares for scheduler in ("in_turn", "mtdnn")
    ]


def read_stages(name: str) -> set[str]:
    """The stages of an experiment that a table reads, and the last."""
    rows = [(row, table) for table in TABLES.values() for row in table.rows if row.experiment == name]
    return {"finetune"} | {row.stage or cell.stage for row, table in rows for cell in table.columns.values()}


def read_cell(cell: Cell, row: Row, result: Mapping[str, Any]) -> tuple[float, tuple[float, float] | None] | None:
    """A number and its interval, out of what is known of a run; None if it is not known.

    Args:
      result: stage -> split -> "scores" and "intervals" -> task -> metric.
    """
    judged = result["stages"].get(row.stage or cell.stage, {}).get(cell.split)
    if judged is None:
        return None
    if cell.metric == "mean3":
        return judged["mean"], judged["mean_interval"]
    task = cell.task or next(iter(judged["scores"]))
    if task not in judged["scores"]:
        return None
    value, interval = judged["scores"][task][cell.metric], judged["intervals"].get(task, {}).get(cell.metric)
    if cell.entry is not None:
        value, interval = value[cell.entry], interval[cell.entry] if interval else None
    return value, interval
