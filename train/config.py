"""Every setting of a run and its default, in parts. A setting's name is its flag; its order is that in a run's name."""

import dataclasses
import math
from pathlib import Path
from typing import Literal

from bert_jax.cli.settings import AT_LEAST_1, SHARE, Parts, Range, between, setting, settings_of
from bert_jax.config import Dtype, PairEncoding, Pooling, SimilarityHead
from train.extend import load_extension
from train.optim import OPTIMIZERS
from train.recipes import RECIPES, Mode
from train.schedulers import SCHEDULERS

# The paper's masked LM has 4 epochs at 1e-3, all weights moving; 5e-5 is usual for weights that are trained already.
MLM_RATES = {"paper": 1e-3, "usual": 5e-5}
RATE = Range(lambda rate: rate in MLM_RATES or 0 < rate < 10, "a learning rate lies between 0 and 10")
POSITIVE = Range(lambda value: 0 < value < math.inf, "it must be more than 0")
SEED = Range(lambda seed: 0 <= seed < 2**32, "it lies between 0 and 2**32 - 1")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is tried."""

    recipe: str | None = setting(None, choices=lambda: RECIPES)
    """An experiment of the paper: several stages, one after the other, with its values where no flag gives another."""
    scheduler: str = setting("mtdnn", choices=lambda: SCHEDULERS)
    """Which task next: one after the other, one batch of each in turn, or the first task alone."""
    extend: Path | None = setting(None, resume="content", since="0.2", early=load_extension)
    """A file of your own, such as my.py, that adds schedulers, losses, kinds of tasks, recipes or optimizers. It is
    run."""


@dataclasses.dataclass(frozen=True)
class Tables:
    """Which tables are read, and how."""

    tasks: str = "sst,quora,sts"
    """Tasks, separated by commas: sst, cfimdb, quora, sts; with --data=tfds also sst2, qqp, stsb, mrpc, cola, imdb; and
    files of your own, such as my_task.toml."""
    data_dir: Path | None = setting(None, resume="content")
    """Folder with the course's tables. Default: the embedded sample."""
    data: Literal["tfds"] | None = None
    """tfds: tables from TensorFlow Datasets, in place of --data_dir."""
    tfds_dir: Path | None = setting(None, resume="content")
    """Folder of TensorFlow Datasets. Default: $TFDS_DATA_DIR, or tensorflow_datasets in the home folder."""
    manual_dir: Path | None = setting(None, resume="content")
    """Folder with the course's tables for --data=tfds. Default: downloads/manual in --tfds_dir."""
    train_split: str | None = None
    """What --data=tfds reads as the train tables, such as train[:80%]. Default: train; of imdb, which has no dev table,
    train[:90%]."""
    dev_split: str | None = None
    """What --data=tfds reads as the dev tables, such as train[80%:]. Default: validation; of imdb train[90%:]."""
    subset: str | None = None
    """Share of a task's train table to train on, such as quora=0.25; several with commas between them."""


ONLY_OF_TFDS = ("tfds_dir", "manual_dir", "train_split", "dev_split")


@dataclasses.dataclass(frozen=True)
class Start:
    """What the parameters are before the first update."""

    init: str | None = setting(None, resume="content")
    """Weights to start from: a Hugging Face folder, a hub id (owner/name@revision) or all-minilm-l6-v2. Default:
    random."""
    model: str | None = None
    """Size of a model that starts random: bert-tiny, -mini, -small, -medium, -base, -large or minilm-l6. Default:
    bert-tiny."""
    vocab: Path | None = setting(None, resume="content")
    """Folder with the vocab.txt of a model that starts random. Default: the sample's."""


@dataclasses.dataclass(frozen=True)
class Training:
    """What is trained, how fast and how long."""

    mode: Mode = "finetune"
    """What is trained: everything, the heads alone, or a masked LM on the texts of the tasks' train tables."""
    epochs: int | None = setting(None, range=AT_LEAST_1, resume="same")
    """Passes over the data. Default: 3, or 6 for a model that starts random; for a masked LM 4, or 20; for a recipe's
    stages other than masked LM 10, or 6."""
    batch_size: int = setting(32, range=AT_LEAST_1)
    """Examples an update."""
    lr: float | None = setting(None, range=RATE)
    """Learning rate; of a recipe, that of its last stage. Default: 1e-5, or 1e-3 for a model that starts random or
    heads alone; for a masked LM 5e-5, or 1e-3."""
    pretrain_epochs: int | None = setting(None, range=AT_LEAST_1)
    """Passes over the data in a recipe's stage of heads alone. Default: as --epochs."""
    pretrain_lr: float | None = setting(None, range=RATE)
    """Learning rate of a recipe's stage of heads alone. Default: 1e-3."""
    mlm_epochs: int | None = setting(None, range=AT_LEAST_1)
    """Passes over the texts in a recipe's stage of masked LM. Default: 4, or 20 for a model that starts random."""
    mlm_lr: float | Literal["paper", "usual"] | None = setting(None, range=RATE)
    """Learning rate of a recipe's stage of masked LM: the paper's 1e-3, the usual 5e-5, or a number. Default: paper."""
    weight_decay: float = setting(0.0, range=SHARE)
    """AdamW's weight decay."""
    optimizer: str = setting("adamw", choices=lambda: OPTIMIZERS, since="0.2")
    """What makes an update of a gradient."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How texts and pairs are read, and what a head sees of them."""

    pair_encoding: PairEncoding = "separate"
    """A pair as two texts, their embeddings side by side, or as one text."""
    similarity_head: SimilarityHead = "linear"
    """Similarity from a linear layer, or as the cosine of the two embeddings."""
    pooling: Pooling = "cls"
    """A text's embedding: BERT's pooler on [CLS], or the mean of its tokens."""
    head_dropout: float | None = setting(None, range=SHARE)
    """Dropout before the heads. Default: 0.3, or 0.1 for a model that starts random."""
    dtype: Dtype = "float32"
    """Type of the matrix products; parameters, softmax, LayerNorm and losses are always float32."""
    max_length: int = setting(512, range=between(8, 512))
    """Tokens a text may have; longer ones are cut and counted."""


@dataclasses.dataclass(frozen=True)
class Speed:
    """How a batch is laid out and computed."""

    row_length: int | None = setting(None, range=between(8, 512))
    """Tokens a row of a packed batch has; batches with a longer text get longer rows. Default: chosen for each task so
    that the least is computed."""
    accumulate: int = setting(1, range=AT_LEAST_1, resume="same")
    """Parts of a batch that a device takes one after the other: the same update in less memory."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """Devices and processes."""

    devices: int | None = setting(None, resume="same")
    """Number of devices; of several processes, of each. Default: all."""
    parallel: Literal["jit", "pmap", "shard_map"] | None = setting(None, resume="same")
    """What runs a step. Default: jit on one device, pmap on several, shard_map if they belong to several processes."""
    coordinator: str | None = setting(None, resume="same", of_process=True)
    """Several processes, each started with this flag: HOST:PORT where process 0 listens, or auto, which asks Slurm or
    the TPU."""
    num_processes: int | None = setting(None, range=AT_LEAST_1, resume="same")
    """How many processes there are."""
    process_id: int | None = setting(None, resume="same", of_process=True)
    """Which of them this is, from 0."""
    process_timeout: int = setting(20, range=AT_LEAST_1, resume="same")
    """Seconds for the processes to find together, and without a word from one of them until the others end."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How far a run goes, where it is kept, how often it is saved, and what it says."""

    max_steps: int | None = setting(None, range=AT_LEAST_1, resume="same")
    """Stop after this many updates of the run; a later call without it goes on."""
    seed: int = setting(11711, range=SEED)
    """Seed of the order of examples, of dropout and of random weights."""
    run_dir: Path | None = setting(None, resume="same", of_process=True)
    """Folder of the run. The same command goes on where the last one stopped. Default: runs/, named after the flags."""
    log_every: int = setting(50, range=AT_LEAST_1, resume="same", of_process=True)
    """Updates between two lines of the log."""
    save_minutes: float = setting(5.0, range=POSITIVE, resume="same", of_process=True)
    """Minutes between two checkpoints; there is one after each epoch as well."""
    save_every: int | None = setting(None, range=AT_LEAST_1, resume="same", of_process=True)
    """Updates between two checkpoints, in place of minutes."""
    dry_run: bool = setting(False, resume="same")
    """Say what would be trained, and what it would take, and stop there."""
    tensorboard: bool = setting(False, resume="same", of_process=True)
    """Write the log for TensorBoard as well, into tensorboard/ in the run's folder."""
    profile: bool = setting(False, resume="same", of_process=True)
    """Measure examples and tokens a second and the share of the machine's speed that they take, and trace some
    updates."""


@dataclasses.dataclass(frozen=True, init=False)
class TrainConfig(Parts):
    """Fine-tunes one BERT on several sentence tasks at once, or trains it as a masked LM on their texts.

    Without --data_dir it trains a tiny model on the embedded sample, in about a minute.
    """

    experiment: Experiment
    tables: Tables
    start: Start
    training: Training
    reading: Reading
    speed: Speed
    machine: Machine
    run: RunOptions


SETTINGS = settings_of(TrainConfig)
# A run may go on with another value of these. All others make it another run.
MAY_CHANGE = {name for name, each in SETTINGS.items() if each.resume == "same"}
# These may change where the files that they name hold the same: a run knows them by their SHA-256.
SAME_CONTENT = {name for name, each in SETTINGS.items() if each.resume == "content"}
# And these may be another's in each process of a run.
OF_A_PROCESS = {name for name, each in SETTINGS.items() if each.of_process}
