"""Text -> token ids: WordPiece as BERT does it, from a `vocab.txt`."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as WordPieceTokenizer
from tokenizers import models, normalizers, pre_tokenizers

from bert_jax.batches.encoded import EncodedExamples
from bert_jax.config import PairEncoding
from bert_jax.data.tables import Example
from bert_jax.errors import WeightsError, quote
from bert_jax.files import read_file, read_json, write_atomically

LONGEST_VOCABULARY = 8_000_000  # bytes; the largest in use, LaBSE's half a million tokens, takes 5 million
LONGEST_TOKEN = 1000  # characters
SETTINGS = {  # of a tokenizer_config.json, and the fields of a Tokenizer that they are
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "splits_chinese",
}
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """A vocabulary and its WordPiece.

    Special tokens are added here, by id, and are unknown to the WordPiece: a text that contains "[SEP]" stays text.

    lowercase: whether letters are made small first.
    strip_accents: whether letters lose their accents first; None: if they are made small.
    splits_chinese: whether each Chinese character is a word.
    """

    vocab: dict[str, int]
    lowercase: bool = True
    strip_accents: bool | None = None
    splits_chinese: bool = True

    def __post_init__(self):
        missing = [token for token in SPECIAL_TOKENS if token not in self.vocab]
        if missing:
            raise WeightsError(f"the vocabulary of {len(self.vocab)} tokens lacks {', '.join(missing)}")
        object.__setattr__(self, "_pieces", self.word_pieces())

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens and without a limit."""
        return [encoding.ids for encoding in self._pieces.encode_batch(list(texts), add_special_tokens=False)]  # type: ignore[attr-defined]

    def word_pieces(self) -> WordPieceTokenizer:
        """BERT's WordPiece, to which special tokens are words like any other."""
        pieces = WordPieceTokenizer(models.WordPiece(self.vocab, unk_token="[UNK]", max_input_chars_per_word=100))
        pieces.normalizer = normalizers.BertNormalizer(
            lowercase=self.lowercase, strip_accents=self.strip_accents, handle_chinese_chars=self.splits_chinese
        )
        pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return pieces

    @property
    def settings(self) -> dict[str, bool | None]:
        """How texts are changed before they are cut, as `tokenizer_config.json` names it."""
        return {name: getattr(self, field) for name, field in SETTINGS.items()}

    def tokens(self, text: str) -> list[str]:
        """The word pieces of one text, to look at."""
        return self._pieces.encode(text, add_special_tokens=False).tokens  # type: ignore[attr-defined]

    def names(self, ids: Sequence[int]) -> list[str]:
        """The token of each id, special tokens too, to look at."""
        tokens = {number: token for token, number in self.vocab.items()}
        return [tokens[int(number)] for number in ids]

    def save(self, folder: Path) -> None:
        """Writes `vocab.txt` and the settings, as `read_tokenizer` reads them."""
        lines = sorted(self.vocab, key=self.vocab.__getitem__)
        write_atomically(folder / "vocab.txt", "".join(f"{token}\n" for token in lines))
        write_atomically(folder / "tokenizer_config.json", json.dumps(self.settings) + "\n")


def read_tokenizer(folder: Path, vocab_size: int | None = None) -> Tokenizer:
    """Reads `vocab.txt` (one token a line) and, where it lies beside it, `tokenizer_config.json`.

    Args:
      vocab_size: rows of the embedding table that the ids will index, or None if the table is yet to be made.

    Raises:
      WeightsError: no such file, a token twice, a special token missing, or another size than the table's.
    """
    path = folder / "vocab.txt"
    tokens = _read_tokens(path)
    vocab = {token: number for number, token in enumerate(tokens)}
    if len(vocab) != len(tokens):
        twice = next(token for number, token in enumerate(tokens) if vocab[token] != number)
        raise WeightsError(f"{path}:{vocab[twice] + 1}: token {quote(twice)} stands twice")
    if vocab_size is not None and len(vocab) != vocab_size:
        raise WeightsError(f"{path} has {len(vocab)} tokens, but the embedding table has {vocab_size} rows")
    settings = _read_settings(folder / "tokenizer_config.json")
    try:
        return Tokenizer(vocab, **settings)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def _read_tokens(path: Path) -> list[str]:
    try:
        lines = read_file(path, LONGEST_VOCABULARY).decode("utf-8").split("\n")
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist; a model folder holds vocab.txt") from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path} is no text: {error}") from None
    tokens = [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    for line, token in enumerate(tokens, start=1):
        if len(token) > LONGEST_TOKEN:
            raise WeightsError(f"{path}:{line}: a token of {len(token):,} characters; {LONGEST_TOKEN} are the most")
    return tokens


def _read_settings(path: Path) -> dict[str, bool]:
    """The fields of a Tokenizer that a file sets; null is as good as nothing."""
    try:
        values = read_json(path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None
    found = {name: values[name] for name in SETTINGS if values.get(name) is not None}
    for name, value in found.items():
        if not isinstance(value, bool):
            raise WeightsError(f"{path}: {name} is {quote(value)}, not true or false")
    return {SETTINGS[name]: value for name, value in found.items()}


def truncate_pair(first: int, second: int, limit: int) -> tuple[int, int]:
    """Lengths of two texts after the longer one has lost a token at a time until both fit (as BERT does it).

    >>> truncate_pair(9, 3, 8)
    (5, 3)
    """
    while first + second > limit:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


def encode_examples(
    tokenizer: Tokenizer, examples: Sequence[Example], pair_encoding: PairEncoding, max_length: int
) -> EncodedExamples:
    """Tokenizes examples: `[CLS] a [SEP]` for each text, or `[CLS] a [SEP] b [SEP]` for a pair encoded jointly.

    Args:
      max_length: tokens a text may have, special tokens included; more are cut off and counted.
    """
    cls, sep = tokenizer.vocab["[CLS]"], tokenizer.vocab["[SEP]"]
    width = len(examples[0].texts) if examples else 1
    pieces = tokenizer([text for example in examples for text in example.texts])
    sequences: list[list[int]] = []
    first_parts: list[int] = []  # tokens of segment type 0, in each sequence
    truncated = 0
    if width == 2 and pair_encoding == "joint":
        for first, second in zip(pieces[::2], pieces[1::2], strict=True):
            a, b = truncate_pair(len(first), len(second), max_length - 3)
            truncated += a < len(first) or b < len(second)
            sequences.append([cls, *first[:a], sep, *second[:b], sep])
            first_parts.append(a + 2)
        texts = 1
    else:
        for piece in pieces:
            truncated += len(piece) > max_length - 2
            sequences.append([cls, *piece[: max_length - 2], sep])
            first_parts.append(len(sequences[-1]))
        texts = width
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    position = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], lengths)
    return EncodedExamples(
        tokens=np.fromiter((token for sequence in sequences for token in sequence), np.int32, int(offsets[-1])),
        token_types=(position >= np.repeat(first_parts, lengths)).astype(np.int32),
        offsets=offsets,
        labels=np.array([example.label or 0 for example in examples], np.float32),
        ids=[example.id for example in examples],
        texts=texts,
        truncated=truncated,
    )
