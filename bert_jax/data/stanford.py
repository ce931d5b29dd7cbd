"""Stanford's own files of the Sentiment Treebank -> SST-5: sentences with five labels, and phrases if they are wanted.

The files are `datasetSentences.txt`, `datasetSplit.txt`, `dictionary.txt` and `sentiment_labels.txt` of
stanfordSentimentTreebank.zip (Socher et al., 2013; nlp.stanford.edu/sentiment). Two things are odd in the sentences,
not in the dictionary: they were encoded as UTF-8 twice, so that é is "Ã©", and have -LRB- and -RRB- for brackets, as
the Penn Treebank does. The course's tables have é and -LRB-, and so have these.
"""

import bisect
import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from bert_jax.data.tables import Example, read_bytes
from bert_jax.errors import InputError, quote
from bert_jax.tasks import Split

# Probabilities of being positive that divide the five classes: [0, 0.2], (0.2, 0.4], ... (the files' own README).
THRESHOLDS = (0.2, 0.4, 0.6, 0.8)
SPLITS: dict[str, Split] = {"1": "train", "2": "test", "3": "dev"}
Rows = dict[Split, list[Example]]


def read_stanford(folder: Path, phrases: bool = False) -> Rows:
    """The sentences of each split, in the order of their file.

    Args:
      phrases: whether the train split also gets, behind its sentences, each phrase of the dictionary whose words stand
        in a train sentence one after the other. Phrases that are a whole sentence, of whatever split, are left out.

    Raises:
      InputError: `path:line: reason`, for the first thing that is wrong.
    """
    splits: dict[str, Split] = {}
    for place, (number, name) in _columns(folder / "datasetSplit.txt", ","):
        if name not in SPLITS:
            raise InputError(f"{place}: the split is {quote(name)}, not 1 (train), 2 (test) or 3 (dev)")
        splits[number] = SPLITS[name]
    labels = dict(_labels(folder / "sentiment_labels.txt"))
    dictionary = dict(_dictionary(folder / "dictionary.txt", labels))
    rows: Rows = {split: [] for split in SPLITS.values()}
    for place, (number, text) in _columns(folder / "datasetSentences.txt", "\t"):
        text = repair(text)
        if number not in splits:
            raise InputError(f"{place}: sentence {quote(number)} has no line in datasetSplit.txt")
        if text not in dictionary:
            raise InputError(f"{place}: the sentence is not in dictionary.txt, so it has no label")
        rows[splits[number]].append(Example(f"sentence-{number}", (text,), float(labels[dictionary[text]])))
    if phrases:
        sentences = {example.texts[0] for examples in rows.values() for example in examples}
        rows["train"] += [
            Example(f"phrase-{dictionary[text]}", (text,), float(labels[dictionary[text]]))
            for text in sorted(spans(example.texts[0] for example in rows["train"]) & dictionary.keys() - sentences)
        ]
    return rows


def repair(text: str) -> str:
    """A text of datasetSentences.txt as it was before it was encoded twice, with single spaces.

    >>> repair("clichÃ©s -LRB- rÃ©sumÃ© -RRB-")
    'clichés -LRB- résumé -RRB-'
    """
    with contextlib.suppress(UnicodeError):  # it was encoded once
        text = text.encode("latin-1").decode("utf-8")
    return " ".join(text.split())


def spans(texts: Iterable[str]) -> set[str]:
    """Every run of words in the texts.

    >>> sorted(spans(["a b c"]))
    ['a', 'a b', 'a b c', 'b', 'b c', 'c']
    """
    found = set()
    for words in (text.split(" ") for text in texts):
        found |= {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
    return found


def label_of(value: float) -> int:
    """The class, 0 to 4, of a probability of being positive.

    >>> [label_of(value) for value in (0, 0.2, 0.20001, 0.5, 0.8, 1)]
    [0, 0, 1, 2, 3, 4]
    """
    return bisect.bisect_left(THRESHOLDS, value)


def _dictionary(path: Path, labels: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Phrases, with brackets as the sentences have them, and their numbers."""
    for place, (text, number) in _columns(path, "|", header=False):
        if number not in labels:
            raise InputError(f"{place}: phrase {quote(number)} has no line in sentiment_labels.txt")
        yield " ".join(text.replace("(", "-LRB-").replace(")", "-RRB-").split()), number


def _labels(path: Path) -> Iterator[tuple[str, int]]:
    """Numbers of phrases, and their classes."""
    for place, (number, text) in _columns(path, "|"):
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise InputError(f"{place}: the sentiment value is {quote(text)}, not a number from 0 to 1")
        yield number, label_of(value)


def _columns(path: Path, separator: str, header: bool = True) -> Iterator[tuple[str, tuple[str, str]]]:
    """`path:line` and the two columns of each line; the last separator divides them, as phrases may have one too."""
    try:
        lines = read_bytes(path).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{path}:1: is not UTF-8") from None
    for number, line in enumerate(lines, start=1):
        if (number > 1 or not header) and line.strip():
            first, found, second = line.rstrip("\r").rpartition(separator)
            if not found:
                raise InputError(f"{path}:{number}: the line has no {separator!r} between two columns")
            yield f"{path}:{number}", (first, second)
