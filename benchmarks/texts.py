"""What is timed on: the course's texts, or random ones as long as those; and which of them make up a batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.tokenizer import encode_examples, read_tokenizer
from bert_jax.data.tables import find_file, read_table
from bert_jax.tasks import Split, Task
from bert_jax.weights.folder import find_weights

# Quantiles of the texts' tokens in the course's train tables, with bert-base-uncased's vocabulary, [CLS] and [SEP]
# included; a pair is two texts. Their means are 25.0, 15.8 and 14.7.
PERCENT = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 100)
LENGTHS = {
    "sst": (4, 9, 11, 15, 18, 21, 24, 27, 30, 35, 41, 46, 52, 55, 80),
    "quora": (3, 9, 9, 11, 12, 13, 14, 15, 17, 20, 25, 30, 36, 41, 95),
    "sts": (5, 8, 8, 9, 10, 11, 12, 13, 16, 19, 26, 31, 36, 38, 70),
}
# Rows of the tables: those of 267, 4,400 and 189 steps of 32 examples.
ROWS: dict[tuple[str, Split], int] = {
    ("sst", "train"): 8544,
    ("sst", "dev"): 1101,
    ("quora", "train"): 4400 * 32,
    ("sts", "train"): 6040,
}
# In bert-base-uncased's vocabulary: the ids of SPECIAL_TOKENS, in their order, and one below which no word is.
SPECIAL_IDS = (0, 100, 101, 102, 103)
FIRST_WORD = 1000
MEGABATCH = 50  # batches that Hugging Face's group_by_length sorts together


def random_lengths(task: str, texts: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths drawn from a task's quantiles, straight lines between them: [texts]."""
    return np.rint(np.interp(rng.uniform(0, 100, texts), PERCENT, LENGTHS[task])).astype(np.int64)


def random_examples(
    task: Task, rows: int, vocab_size: int, length: int | None = None, seed: int = 0
) -> EncodedExamples:
    """Texts of random words with random labels.

    Args:
      length: tokens of every text, or None for lengths as the task has them.
    """
    rng = np.random.default_rng(seed)
    texts = 2 if task.is_pair else 1
    lengths = np.full(rows * texts, length) if length else random_lengths(task.name, rows * texts, rng)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = rng.integers(FIRST_WORD, vocab_size, offsets[-1], dtype=np.int32)
    tokens[offsets[:-1]], tokens[offsets[1:] - 1] = SPECIAL_IDS[2:4]
    return EncodedExamples(
        tokens=tokens,
        token_types=np.zeros_like(tokens),
        offsets=offsets,
        labels=rng.integers(0, task.max_label + 1, rows).astype(np.float32),
        ids=[str(row) for row in range(rows)],
        texts=texts,
        truncated=0,
    )


def course_examples(
    data_dir: Path, vocab: str, task: Task, split: Split, rows: int, max_length: int
) -> EncodedExamples:
    """A split of the course's tables, or so many of its rows, evenly spread; 0 is all.

    Raises:
      UserError: the table or the vocabulary cannot be read.
    """
    examples = read_table(find_file(data_dir, task, split), task, labelled=True).examples
    kept = evenly(len(examples), rows)
    tokenizer = read_tokenizer(find_weights(vocab))
    return encode_examples(tokenizer, [examples[row] for row in kept], "separate", max_length)


def evenly(size: int, count: int) -> np.ndarray:
    """So many of the numbers below `size`, each in the middle of its equal share; 0, or too many, is all of them."""
    return np.arange(size) if not 0 < count < size else ((np.arange(count) + 0.5) * size / count).astype(np.int64)


def sample_batches(batches: Sequence[np.ndarray], lengths: np.ndarray, count: int) -> list[int]:
    """Numbers of so many batches that stand for all: evenly spread over those of the epoch, sorted by longest text.

    Args:
      lengths: [examples].
    """
    order = np.argsort([lengths[batch].max() for batch in batches], kind="stable")
    return sorted(order[evenly(len(batches), count)].tolist())


def grouped_batches(lengths: np.ndarray, size: int, seed: int = 0) -> list[np.ndarray]:
    """Batches of similar length, as `get_length_grouped_indices` of Hugging Face's Trainer makes them.

    Examples are shuffled, cut into megabatches, and sorted in each, the longest first.
    """
    order = np.random.default_rng(seed).permutation(len(lengths))
    mega = size * max(1, min(len(lengths) // (4 * size), MEGABATCH))
    parts = [order[start : start + mega] for start in range(0, len(order), mega)]
    return cut(np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in parts]), size)


def sorted_batches(lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """Every example once, the longest first."""
    return cut(np.argsort(-lengths, kind="stable"), size)


def cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Batches of so many examples, the last perhaps smaller."""
    return [order[start : start + size] for start in range(0, len(order), size)]


def save_texts(
    path: Path, encoded: EncodedExamples, check: np.ndarray, ways: Mapping[str, Sequence[np.ndarray]]
) -> None:
    """Writes single texts and their batches for the rival, as plain arrays.

    Args:
      check: the examples that both sides' losses are compared on.
      ways: batches of example indices, by the name of the way they were made.
    """
    arrays = {"tokens": encoded.tokens, "offsets": encoded.offsets, "labels": encoded.labels, "check": check}
    for name, batches in ways.items():
        arrays[f"{name}_indices"] = np.concatenate(batches)
        arrays[f"{name}_sizes"] = np.array([len(batch) for batch in batches])
    np.savez(path, **arrays)  # type: ignore[arg-type]
