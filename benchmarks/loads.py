"""Our side's batches for each kind of work, what the rival gets in their place, and how much each of them is."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.cases import RIVALS, Work
from benchmarks.texts import (
    FIRST_WORD,
    ROWS,
    SPECIAL_IDS,
    course_examples,
    cut,
    grouped_batches,
    random_examples,
    sample_batches,
    sorted_batches,
)
from bert_jax.batches.batches import Batches, training_batches
from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.masked import mask_batches
from bert_jax.batches.masking import mask_vocabulary
from bert_jax.batches.order import batches_per_epoch
from bert_jax.batches.packing import BatchShape
from bert_jax.batches.tokenizer import SPECIAL_TOKENS
from bert_jax.config import SIZES
from bert_jax.flops import encoder_flops, masked_lm_flops
from bert_jax.tasks import MASKED_LM, TASKS, Split, Task
from eval.evaluate import split_batches

SST = TASKS["sst"]
MULTITASK = (SST, TASKS["quora"], TASKS["sts"])
SEED = 0


@dataclasses.dataclass(frozen=True)
class Source:
    """Where texts come from: the course's tables with a vocabulary, or, without a folder, chance."""

    data_dir: Path | None
    vocab: str

    def examples(self, work: Work, task: Task, split: Split, rows: int) -> EncodedExamples:
        """A split's texts, or so many of them; 0 is all."""
        bert = SIZES[work.model]
        if self.data_dir and work.length is None:
            return course_examples(self.data_dir, self.vocab, task, split, rows, bert.max_position_embeddings)
        return random_examples(task, rows or ROWS[task.name, split], bert.vocab_size, work.length, SEED)


@dataclasses.dataclass(frozen=True)
class Load:
    """What is done in one go.

    batches: ours, by task, in the order in which they are taken.
    encoded: the texts that the rival's batches, `ways`, are made of: example indices, by the name of the way.
    amounts: of "ours" and of each way: examples, tokens, computed tokens, batches, batches of a whole epoch, flops.
    """

    batches: Mapping[Task, Batches]
    amounts: dict[str, dict[str, float]]
    encoded: EncodedExamples | None = None
    ways: Mapping[str, Sequence[np.ndarray]] = dataclasses.field(default_factory=dict)


def make_load(work: Work, source: Source) -> Load:
    """The load of a piece of work."""
    return MAKERS[work.kind](work, source)


def _amount(
    work: Work, encoded: EncodedExamples, batches: Sequence[np.ndarray], computed: int, of: int
) -> dict[str, float]:
    lengths = encoded.lengths[np.concatenate(batches)]
    return {
        "examples": len(lengths),
        "tokens": int(lengths.sum()),
        "computed": computed,
        "batches": len(batches),
        "of": of,
        "flops": encoder_flops(SIZES[work.model], lengths, training=work.kind != "evaluation"),
    }


def _padded_tokens(encoded: EncodedExamples, batches: Sequence[np.ndarray]) -> int:
    """Tokens computed if each batch is padded to its longest text."""
    return sum(len(batch) * int(encoded.lengths[batch].max()) for batch in batches)


def _with_rivals(
    work: Work,
    ours: dict[str, float],
    batches: Batches,
    encoded: EncodedExamples,
    ways: Mapping[str, Sequence[np.ndarray]],
    of: int,
) -> Load:
    wanted = {RIVALS[name].batches for name in work.rivals}
    ways = {way: taken for way, taken in ways.items() if way in wanted}
    theirs = {way: _amount(work, encoded, taken, _padded_tokens(encoded, taken), of) for way, taken in ways.items()}
    return Load({SST: batches}, {"ours": ours, **theirs}, encoded, ways)


def _tensor(work: Work) -> Batches:
    """The same batch again and again. We pack it each time, which the loop does; the rival makes its tensor once."""
    assert work.length
    encoded = random_examples(SST, work.examples, SIZES[work.model].vocab_size, work.length, SEED)
    shape = BatchShape(work.examples, work.length)
    indices = [np.arange(work.examples)] * work.count
    return Batches(encoded, indices, [shape] * work.count, work.examples, shares=1)


def _steps(work: Work, _source: Source) -> Load:
    batches = _tensor(work)
    ours = _amount(work, batches.encoded, batches.indices, batches.computed_tokens, work.count)
    return _with_rivals(work, ours, batches, batches.encoded, {"same": batches.indices}, work.count)


def _masked_lm(work: Work, _source: Source) -> Load:
    batches = _tensor(work)
    words = {f"word {number}": number for number in range(FIRST_WORD, SIZES[work.model].vocab_size)}
    vocabulary = mask_vocabulary(dict(zip(SPECIAL_TOKENS, SPECIAL_IDS, strict=True)) | words)
    masked = mask_batches(batches, vocabulary, SEED, per_epoch=work.count)  # of one epoch, so masked alike
    ours = _amount(work, batches.encoded, batches.indices, batches.computed_tokens, work.count)
    ours["flops"] += masked_lm_flops(SIZES[work.model], int(np.sum(masked[0].weights > 0))) * work.count
    return Load({MASKED_LM: masked}, {"ours": ours})


def _sst_epoch(work: Work, source: Source) -> Batches:
    encoded = source.examples(work, SST, "train", 0)
    count = batches_per_epoch(len(encoded), work.examples)
    return training_batches(encoded, SST.name, SEED, work.examples, count, shares=1, row_length=None)


def _take(batches: Batches, numbers: Sequence[int]) -> Batches:
    """Some of the batches, in the shapes that they have in a whole epoch."""
    indices, shapes = [batches.indices[n] for n in numbers], [batches.shapes[n] for n in numbers]
    return dataclasses.replace(batches, indices=indices, shapes=shapes)


def _epoch(work: Work, source: Source) -> Load:
    epoch = _sst_epoch(work, source)
    encoded, lengths = epoch.encoded, epoch.encoded.lengths[:, 0]
    batches = _take(epoch, sample_batches(epoch.indices, lengths, work.count))
    grouped = grouped_batches(lengths, work.examples, SEED)
    ways = {
        "same": list(batches.indices),
        "grouped": [grouped[number] for number in sample_batches(grouped, lengths, work.count)],
    }
    ours = _amount(work, encoded, batches.indices, batches.computed_tokens, len(epoch))
    return _with_rivals(work, ours, batches, encoded, ways, len(epoch))


def _evaluation(work: Work, source: Source) -> Load:
    encoded = source.examples(work, SST, "dev", work.count * work.examples)
    batches = split_batches(SST, encoded, {}, work.examples, shares=1, row_length=None)
    in_order = cut(np.arange(len(encoded)), work.examples)
    ways = {"same": in_order, "sorted": sorted_batches(encoded.lengths[:, 0], work.examples)}
    ours = _amount(work, encoded, in_order, batches.computed_tokens, len(in_order))
    return _with_rivals(work, ours, batches, encoded, ways, len(in_order))


def _compile(work: Work, source: Source) -> Load:
    """One batch of each shape that an epoch has."""
    epoch = _sst_epoch(work, source)
    shapes = list(epoch.shapes)
    batches = _take(epoch, [shapes.index(shape) for shape in dict.fromkeys(shapes)])
    ours = _amount(work, epoch.encoded, batches.indices, batches.computed_tokens, len(epoch))
    return Load({SST: batches}, {"ours": ours})


def _multitask(work: Work, source: Source) -> Load:
    batches = {}
    amounts: list[dict[str, float]] = []
    for task in MULTITASK:
        encoded = source.examples(work, task, "train", work.count * work.examples)
        count = batches_per_epoch(len(encoded), work.examples)
        taken = training_batches(encoded, task.name, SEED, work.examples, count, shares=1, row_length=None)
        batches[task] = taken
        amounts.append(_amount(work, encoded, taken.indices, taken.computed_tokens, count))
    return Load(batches, {"ours": {key: sum(amount[key] for amount in amounts) for key in amounts[0]}})


MAKERS: dict[str, Callable[[Work, Source], Load]] = {
    "steps": _steps,
    "masked_lm": _masked_lm,
    "epoch": _epoch,
    "evaluation": _evaluation,
    "compile": _compile,
    "multitask": _multitask,
}
