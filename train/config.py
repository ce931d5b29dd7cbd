"""Every setting of a run and its default. A field's name is its flag."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any, Literal

from bert_jax.config import Dtype, PairEncoding, Pooling, SimilarityHead
from bert_jax.errors import InputError
from bert_jax.tasks import find_tasks, plain_names

Mode = Literal["finetune", "pretrain", "mlm"]
RecipeName = Literal["baseline", "in_turn", "mtdnn", "in_turn_mlm", "in_turn_mlm_cosine", "sst_single", "cfimdb_single"]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Fine-tunes one BERT on several sentence tasks at once, or trains it as a masked LM on their texts.

    Without --data_dir it trains a tiny model on the embedded sample, in about a minute.
    """

    recipe: RecipeName | None = None
    """An experiment of the paper: several stages, one after the other, with its values where no flag gives another."""
    scheduler: Literal["in_turn", "mtdnn", "baseline"] = "mtdnn"
    """Which task next: one after the other, one batch of each in turn, or the first task alone."""
    tasks: str = "sst,quora,sts"
    """Tasks, separated by commas: sst, cfimdb, quora, sts; with --data=tfds also sst2, qqp, stsb, mrpc, cola, imdb;
    and files of your own, such as my_task.toml."""
    data_dir: Path | None = None
    """Folder with the course's tables. Default: the embedded sample."""
    data: Literal["tfds"] | None = None
    """tfds: tables from TensorFlow Datasets, in place of --data_dir."""
    tfds_dir: Path | None = None
    """Folder of TensorFlow Datasets. Default: $TFDS_DATA_DIR, or tensorflow_datasets in the home folder."""
    manual_dir: Path | None = None
    """Folder with the course's tables for --data=tfds. Default: downloads/manual in --tfds_dir."""
    train_split: str | None = None
    """What --data=tfds reads as the train tables, such as train[:80%].
    Default: train; of imdb, which has no dev table, train[:90%]."""
    dev_split: str | None = None
    """What --data=tfds reads as the dev tables, such as train[80%:].
    Default: validation; of imdb train[90%:]."""
    subset: str | None = None
    """Share of a task's train table to train on, such as quora=0.25; several with commas between them."""
    init: str | None = None
    """Weights to start from: a Hugging Face folder, a hub id (owner/name@revision) or all-minilm-l6-v2.
    Default: random."""
    model: str | None = None
    """Size of a model that starts random: bert-tiny, -mini, -small, -medium, -base, -large or minilm-l6.
    Default: bert-tiny."""
    vocab: Path | None = None
    """Folder with the vocab.txt of a model that starts random. Default: the sample's."""
    mode: Mode = "finetune"
    """What is trained: everything, the heads alone, or a masked LM on the texts of the tasks' train tables."""
    epochs: int | None = None
    """Passes over the data. Default: 3, or 6 for a model that starts random; for a masked LM 4, or 20; for a recipe's
    stages other than masked LM 10, or 6."""
    batch_size: int = 32
    """Examples an update."""
    lr: float | None = None
    """Learning rate; of a recipe, that of its last stage. Default: 1e-5, or 1e-3 for a model that starts random or
    heads alone; for a masked LM 5e-5, or 1e-3."""
    pretrain_epochs: int | None = None
    """Passes over the data in a recipe's stage of heads alone. Default: as --epochs."""
    pretrain_lr: float | None = None
    """Learning rate of a recipe's stage of heads alone. Default: 1e-3."""
    mlm_epochs: int | None = None
    """Passes over the texts in a recipe's stage of masked LM. Default: 4, or 20 for a model that starts random."""
    mlm_lr: float | Literal["paper", "usual"] | None = None
    """Learning rate of a recipe's stage of masked LM: the paper's 1e-3, the usual 5e-5, or a number. Default: paper."""
    weight_decay: float = 0.0
    """AdamW's weight decay."""
    pair_encoding: PairEncoding = "separate"
    """A pair as two texts, their embeddings side by side, or as one text."""
    similarity_head: SimilarityHead = "linear"
    """Similarity from a linear layer, or as the cosine of the two embeddings."""
    pooling: Pooling = "cls"
    """A text's embedding: BERT's pooler on [CLS], or the mean of its tokens."""
    head_dropout: float | None = None
    """Dropout before the heads. Default: 0.3, or 0.1 for a model that starts random."""
    dtype: Dtype = "float32"
    """Type of the matrix products; parameters, softmax, LayerNorm and losses are always float32."""
    max_length: int = 512
    """Tokens a text may have; longer ones are cut and counted."""
    row_length: int | None = None
    """Tokens a row of a packed batch has; batches with a longer text get longer rows.
    Default: chosen for each task so that the least is computed."""
    accumulate: int = 1
    """Parts of a batch that a device takes one after the other: the same update in less memory."""
    devices: int | None = None
    """Number of devices; of several processes, of each. Default: all."""
    parallel: Literal["jit", "pmap", "shard_map"] | None = None
    """What runs a step. Default: jit on one device, pmap on several, shard_map if they belong to several processes."""
    coordinator: str | None = None
    """Several processes, each started with this flag: HOST:PORT where process 0 listens, or auto, which asks Slurm or
    the TPU."""
    num_processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which of them this is, from 0."""
    process_timeout: int = 20
    """Seconds for the processes to find together, and without a word from one of them until the others end."""
    max_steps: int | None = None
    """Stop after this many updates of the run; a later call without it goes on."""
    seed: int = 11711
    """Seed of the order of examples, of dropout and of random weights."""
    run_dir: Path | None = None
    """Folder of the run. The same command goes on where the last one stopped.
    Default: runs/, named after the flags."""
    log_every: int = 50
    """Updates between two lines of the log."""
    save_minutes: float = 5.0
    """Minutes between two checkpoints; there is one after each epoch as well."""
    save_every: int | None = None
    """Updates between two checkpoints, in place of minutes."""
    dry_run: bool = False
    """Say what would be trained, and what it would take, and stop there."""
    tensorboard: bool = False
    """Write the log for TensorBoard as well, into tensorboard/ in the run's folder."""
    profile: bool = False
    """Measure examples and tokens a second and the share of the machine's speed that they take, and trace some
    updates."""


@dataclasses.dataclass(frozen=True)
class Default:
    """Values of the settings that depend on what is trained."""

    epochs: int
    lr: float
    head_dropout: float


# The paper's values, but for the epochs: the course's starter has 10, which takes hours on a laptop.
PRETRAINED = Default(epochs=3, lr=1e-5, head_dropout=0.3)
RANDOM = Default(epochs=6, lr=1e-3, head_dropout=0.1)
HEADS_ONLY_LR = 1e-3
# The paper's masked LM has 4 epochs at 1e-3, all weights moving; 5e-5 is usual for weights that are trained already.
MLM_RATES = {"paper": 1e-3, "usual": 5e-5}
PRETRAINED_MLM = Default(epochs=4, lr=MLM_RATES["usual"], head_dropout=0.0)
RANDOM_MLM = Default(epochs=20, lr=1e-3, head_dropout=0.0)
# A masked LM is one task on single texts; these say how tasks are mixed, and how texts and pairs of them are read off.
NOT_OF_MLM = ("scheduler", "pair_encoding", "similarity_head", "pooling", "head_dropout")

# A run may go on with another value of these. All others make it another run.
MAY_CHANGE = {
    "run_dir", "max_steps", "epochs", "log_every", "save_minutes", "save_every", "dry_run", "profile", "tensorboard",
    "accumulate", "devices", "parallel", "coordinator", "num_processes", "process_id", "process_timeout",
}  # fmt: skip
# These may change where the files that they name hold the same: a run knows them by their SHA-256.
SAME_CONTENT = {"data_dir", "tfds_dir", "manual_dir", "init", "vocab"}
# And these may be another's in each process of a run.
OF_A_PROCESS = {
    "coordinator", "process_id", "run_dir", "log_every", "save_minutes", "save_every", "profile", "tensorboard",
}  # fmt: skip
ONLY_OF_TFDS = ("tfds_dir", "manual_dir", "train_split", "dev_split")


def resolve(config: TrainConfig) -> TrainConfig:
    """The same settings with every default filled in.

    Raises:
      InputError: a value is out of range, or two settings do not go together.
    """
    check_ranges(config)
    if config.init and (config.model or config.vocab):
        raise InputError("--init brings its own model and vocabulary: leave out --model and --vocab, or --init")
    check_data(config)
    check_processes(config)
    data = "--data_dir" if config.data_dir else "--data=tfds" if config.data else None
    if data and not config.init and not config.vocab:
        raise InputError(f"{data} needs --init (for one, --init=all-minilm-l6-v2), or --vocab for a random start")
    pretrained, random = (PRETRAINED_MLM, RANDOM_MLM) if config.mode == "mlm" else (PRETRAINED, RANDOM)
    default = pretrained if config.init else random
    filled: dict[str, Any] = {
        "epochs": default.epochs,
        "lr": HEADS_ONLY_LR if config.mode == "pretrain" else default.lr,
        "head_dropout": default.head_dropout,
        "model": None if config.init else "bert-tiny",
        "run_dir": Path("runs") / run_name(config),
    }
    return dataclasses.replace(config, **{k: v for k, v in filled.items() if getattr(config, k) is None})


def check_ranges(config: TrainConfig) -> None:
    """Raises InputError if a number is out of range."""
    for name in (
        "epochs", "pretrain_epochs", "mlm_epochs", "batch_size", "max_steps", "log_every", "save_every", "accumulate",
        "num_processes", "process_timeout",
    ):  # fmt: skip
        check_positive(name, getattr(config, name))
    for name in ("lr", "pretrain_lr", "mlm_lr"):
        rate = getattr(config, name)
        if rate is not None and rate not in MLM_RATES and not 0 < rate < 10:
            raise InputError(f"--{name}={rate}, but a learning rate lies between 0 and 10")
    if not 0 <= config.weight_decay < 1:
        raise InputError(f"--weight_decay={config.weight_decay}, but it lies in [0, 1)")
    if config.head_dropout is not None and not 0 <= config.head_dropout < 1:
        raise InputError(f"--head_dropout={config.head_dropout}, but it lies in [0, 1)")
    if not 8 <= config.max_length <= 512:
        raise InputError(f"--max_length={config.max_length}, but it lies between 8 and 512")
    if config.row_length is not None and not 8 <= config.row_length <= 512:
        raise InputError(f"--row_length={config.row_length}, but it lies between 8 and 512")
    if not 0 < config.save_minutes < math.inf:
        raise InputError(f"--save_minutes={config.save_minutes}, but it must be more than 0")
    subset_shares(config)
    if not 0 <= config.seed < 2**32:
        raise InputError(f"--seed={config.seed}, but it lies between 0 and 2**32 - 1")


def check_data(config: TrainConfig) -> None:
    """Raises InputError if the settings name tables in two places, or say how to read what is not read."""
    if config.data and config.data_dir:
        raise InputError("--data=tfds takes the place of --data_dir; it finds the course's tables in --manual_dir")
    idle = [name for name in ONLY_OF_TFDS if not config.data and getattr(config, name) is not None]
    if idle:
        raise InputError(f"--{idle[0]}={getattr(config, idle[0])} says how --data=tfds reads tables, and needs it")


def check_processes(config: TrainConfig) -> None:
    """Raises InputError if the settings do not say where the processes of a run find together, and which this is."""
    said = {name: getattr(config, name) for name in ("num_processes", "process_id")}
    flags = " and ".join(f"--{name}" for name in said)
    if config.coordinator is None:
        if any(value is not None for value in said.values()):
            raise InputError(f"{flags} need --coordinator, where the processes find together")
        return
    if config.coordinator == "auto":
        return
    written = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s:]+):(\d{1,5})", config.coordinator)
    if not written or not 0 < int(written[2]) < 2**16:
        raise InputError(f"--coordinator={config.coordinator}, but it is HOST:PORT of process 0, or auto")
    count, number = said.values()
    if count is None or number is None:
        raise InputError(f"--coordinator={config.coordinator} needs {flags}")
    if not 0 <= number < count:
        raise InputError(f"--process_id={number}, but {count} processes have the numbers 0 to {count - 1}")


def subset_shares(config: TrainConfig) -> dict[str, float]:
    """The share of its train table that each task named in `subset` is trained on.

    Raises:
      InputError: it is not written so, names no task of the run, or a share is not in (0, 1].

    >>> subset_shares(TrainConfig(subset="quora=0.25,sst=0.5"))
    {'quora': 0.25, 'sst': 0.5}
    """
    shares: dict[str, float] = {}
    tasks = {task.name for task in find_tasks(config.tasks)}
    for part in config.subset.split(",") if config.subset else ():
        name, _, share = (text.strip() for text in part.partition("="))
        if name not in tasks or name in shares:
            raise InputError(f"--subset={config.subset} names {name!r}, but it names tasks of --tasks, each once")
        if not re.fullmatch(r"1(\.0*)?|0?\.\d*[1-9]\d*", share):
            raise InputError(
                f"--subset={config.subset}, but a share is a number above 0, and at most 1, as in quora=0.25"
            )
        shares[name] = float(share)
    return shares


def check_positive(name: str, value: int | None) -> None:
    """Raises InputError unless a flag's value, if it has one, is at least 1."""
    if value is not None and value < 1:
        raise InputError(f"--{name}={value}, but it must be at least 1")


def run_name(config: TrainConfig, start: TrainConfig | None = None) -> str:
    """The recipe, the scheduler, or mlm, then every setting that makes another run than the defaults do.

    The model that a run has left behind is called after that run.

    Args:
      start: the defaults; a recipe has its own.

    >>> run_name(TrainConfig(scheduler="mtdnn", data_dir=Path("data/cs224n"), lr=2e-5))
    'mtdnn-data_dir=cs224n-lr=2e-05'
    >>> run_name(TrainConfig(init="runs/mlm-seed=1/model"))
    'mtdnn-init=mlm-seed=1'
    >>> run_name(TrainConfig(tasks="sst,examples/topic.toml"))
    'mtdnn-tasks=sst+topic'
    """
    start = start or TrainConfig()
    first = "recipe" if config.recipe else "mode" if config.mode == "mlm" else "scheduler"
    parts = [getattr(config, first)]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name not in {first, *MAY_CHANGE} and value != getattr(start, field.name):
            text = value.resolve().name if isinstance(value, Path) else _last_name(plain_names(str(value)))
            parts.append(f"{field.name}={text.replace(',', '+')}")
    return "-".join(parts)


def _last_name(text: str) -> str:
    """The last part of a path or a hub id; of `RUN/model`, RUN."""
    *_, before, last = ["", "", *(name for name in text.split("/") if name not in ("", ".", ".."))]
    return before if before and last == "model" else last
