"""What a run will do, known before it does any of it: the task of each update, and every batch."""

import dataclasses
from collections import Counter

from bert_jax.batches.batches import Batches, training_batches
from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.masked import mask_batches
from bert_jax.batches.masking import mask_vocabulary
from bert_jax.batches.order import batches_per_epoch
from bert_jax.batches.tokenizer import encode_examples
from bert_jax.config import ModelConfig
from bert_jax.errors import InputError, counted
from bert_jax.tasks import Split, Task
from eval.evaluate import split_batches
from train.devices.parallel import Parallel
from train.inputs import Inputs
from train.step import trained_parts


@dataclasses.dataclass(frozen=True)
class Plan:
    """Every update of a run, known before it starts.

    schedule: the task of each update.
    batches: a task's training batches, in the order in which it takes them; tasks that are never trained have none.
    dev: a task's dev split.
    truncated: texts that were longer than the limit, by task.
    """

    schedule: list[str]
    steps_per_epoch: int
    batches: dict[str, Batches]
    dev: dict[Task, Batches]
    truncated: dict[str, int]


def plan_run(inputs: Inputs, parallel: Parallel) -> Plan:
    """Tokenizes all tables and packs all batches' shapes, once.

    Raises:
      InputError: a batch has too few examples for the devices.
    """
    config = inputs.config
    size, row_length, seed = config.training.batch_size, config.speed.row_length, config.run.seed
    own, parts = parallel.own, config.speed.accumulate
    shares = parallel.count * parts
    if size < shares:
        of = counted(parallel.count, "device") + (f" x --accumulate={parts}" if parts > 1 else "")
        raise InputError(f"--batch_size={size} cannot be cut into {shares} shares ({of}); it must be at least {shares}")

    def encode(task: Task, split: Split) -> EncodedExamples:
        examples = inputs.tables[task][split].examples
        return encode_examples(inputs.tokenizer, examples, config.reading.pair_encoding, inputs.max_length)

    train = {task.name: encode(task, "train") for task in inputs.tables}
    dev = {task: encode(task, "dev") for task in inputs.tables}
    schedule = inputs.schedule
    counts = Counter(schedule)

    def batches_of(task: Task) -> Batches:
        name = task.name
        batches = training_batches(train[name], name, seed, size, counts[name], shares, row_length)
        batches = dataclasses.replace(batches, own=range(own.start * parts, own.stop * parts))
        if not task.is_masked_lm:
            return batches
        per_epoch = batches_per_epoch(len(train[name]), size)
        return mask_batches(batches, mask_vocabulary(inputs.tokenizer.vocab), seed, per_epoch)

    def dev_batches(task: Task) -> Batches:
        batches = split_batches(task, dev[task], inputs.tokenizer.vocab, size, parallel.count, row_length)
        return dataclasses.replace(batches, own=own)

    return Plan(
        schedule=schedule,
        steps_per_epoch=max(1, len(schedule) // config.training.epochs),
        batches={task.name: batches_of(task) for task in inputs.tables if task.name in counts},
        dev={task: dev_batches(task) for task in dev},
        truncated={task.name: train[task.name].truncated + dev[task].truncated for task in dev},
    )


def frozen_parts(inputs: Inputs) -> set[str]:
    """What --mode=pretrain does not train: the encoder, and a pooler that came with the weights."""
    if inputs.config.training.mode != "pretrain":
        return set()
    return {"bert", *(inputs.weights or {})} - {task.name for task in inputs.tables}


def changed_parts(inputs: Inputs, model: ModelConfig) -> dict[Task, tuple[str, ...]]:
    """The parts of the parameters that an update of each task changes, if the scheduler ever comes to it."""
    frozen = frozen_parts(inputs)
    return {task: trained_parts(model, task, frozen) for task in inputs.tables}
