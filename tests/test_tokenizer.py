"""Token ids: special tokens, truncation, and what the vocabulary must have."""

import os

import numpy as np
import pytest

from bert_jax.batches.tokenizer import SPECIAL_TOKENS, Tokenizer, encode_examples, read_tokenizer
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Example
from bert_jax.errors import WeightsError

WORDS = [*SPECIAL_TOKENS, "the", "film", "##s", "is", "good", "[", "]", "sep", "cls", ".", "cafe"]
TOY = Tokenizer({word: number for number, word in enumerate(WORDS)})
CLS, SEP = WORDS.index("[CLS]"), WORDS.index("[SEP]")


def test_text_that_contains_a_special_token_stays_text():
    assert TOY.tokens("good [SEP] [CLS]") == ["good", "[", "sep", "]", "[", "cls", "]"]
    assert SEP not in TOY(["good [SEP] film"])[0]


def test_text_is_lowercased_stripped_of_accents_and_cut_into_pieces():
    assert TOY.tokens("The FILMS, Café.") == ["the", "film", "##s", "[UNK]", "cafe", "."]


def test_a_single_text_is_framed_by_cls_and_sep():
    encoded = encode_examples(TOY, [Example("a", ("the film",), 3.0), Example("b", ("",), 1.0)], "separate", 16)
    assert encoded.tokens.tolist() == [CLS, 5, 6, SEP, CLS, SEP]
    assert encoded.token_types.tolist() == [0] * 6
    assert encoded.lengths.tolist() == [[4], [2]]
    assert encoded.labels.tolist() == [3.0, 1.0]


def test_a_pair_is_two_texts_or_one_with_segment_types():
    pair = [Example("a", ("the film", "good"), 1.0)]
    separate = encode_examples(TOY, pair, "separate", 16)
    assert separate.texts == 2 and separate.tokens.tolist() == [CLS, 5, 6, SEP, CLS, 9, SEP]
    assert separate.token_types.tolist() == [0] * 7
    joint = encode_examples(TOY, pair, "joint", 16)
    assert joint.texts == 1 and joint.tokens.tolist() == [CLS, 5, 6, SEP, 9, SEP]
    assert joint.token_types.tolist() == [0, 0, 0, 0, 1, 1]


def test_long_texts_are_cut_and_counted():
    examples = [Example("a", ("film " * 9,), 0.0), Example("b", ("film " * 6,), 0.0)]
    encoded = encode_examples(TOY, examples, "separate", 8)
    assert encoded.lengths.tolist() == [[8], [8]] and encoded.truncated == 1
    assert encoded.tokens[7] == SEP


@pytest.mark.parametrize(("first", "second"), [(9, 2), (2, 9), (7, 7), (5, 4)])
def test_the_longer_text_of_a_joint_pair_is_cut_first(first, second):
    encoded = encode_examples(TOY, [Example("a", ("film " * first, "good " * second), 0.0)], "joint", 10)
    a, b = int((encoded.tokens == 6).sum()), int((encoded.tokens == 9).sum())
    assert a + b == 7 and encoded.truncated == 1
    assert min(first, second) == min(a, b) or abs(a - b) <= 1


def test_the_sample_vocabulary_covers_the_sample_and_spells_out_other_words():
    tokenizer = read_tokenizer(SAMPLE)
    for path in SAMPLE.glob("*.csv"):
        ids = tokenizer([path.read_text(encoding="utf-8").replace("\t", " ")])[0]
        assert tokenizer.vocab["[UNK]"] not in ids
    assert tokenizer.tokens("film zq7") == ["film", "z", "##q", "##7"]


def test_a_tokenizer_is_read_back_as_it_was_saved(tmp_path):
    saved = Tokenizer(TOY.vocab, lowercase=False, strip_accents=True, splits_chinese=False)
    saved.save(tmp_path)
    assert read_tokenizer(tmp_path, len(WORDS)) == saved
    (tmp_path / "tokenizer_config.json").write_text('{"strip_accents": null, "tokenize_chinese_chars": true}')
    assert read_tokenizer(tmp_path) == TOY


def test_accents_stay_and_chinese_is_not_split_where_the_settings_say_so():
    vocab = {word: number for number, word in enumerate([*WORDS, "café", "中", "中文"])}
    assert Tokenizer(vocab).tokens("Café 中文") == ["cafe", "中", "[UNK]"]
    assert Tokenizer(vocab, strip_accents=False, splits_chinese=False).tokens("Café 中文") == ["café", "中文"]
    assert Tokenizer(vocab, lowercase=False).tokens("café") == ["café"]


def test_a_tokenizer_that_cannot_be_written_anew_stays(tmp_path, monkeypatch):
    TOY.save(tmp_path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Tokenizer({word: number for number, word in enumerate([*WORDS, "more"])}).save(tmp_path)
    assert read_tokenizer(tmp_path) == TOY


@pytest.mark.parametrize(
    ("lines", "size", "message"),
    [
        (WORDS, 99, "has 16 tokens, but the embedding table has 99 rows"),
        (WORDS[1:], None, r"lacks \[PAD\]"),
        ([*WORDS, "film"], None, "token 'film' stands twice"),
        ([*WORDS, "long" * 10**6], None, "vocab.txt:17: a token of 4,000,000 characters"),
        ([*WORDS, *map(str, range(10**6 * 2))], None, "it has .* bytes, more than 8,000,000"),
        ([*WORDS, "\udcff"], None, "vocab.txt is no text"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_an_error(tmp_path, lines, size, message):
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    with pytest.raises(WeightsError, match=message):
        read_tokenizer(tmp_path, size)


@pytest.mark.parametrize("setting", ['{"do_lower_case": "no"}', '{"strip_accents": 1}', "[]", "{", "\udcff"])
def test_a_setting_that_is_none_is_an_error(tmp_path, setting):
    TOY.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(setting, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(WeightsError, match=r"tokenizer_config\.json: "):
        read_tokenizer(tmp_path)


def test_a_missing_vocabulary_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match=r"vocab\.txt does not exist"):
        read_tokenizer(tmp_path)


def test_ids_are_int32_and_every_text_has_two_special_tokens():
    encoded = encode_examples(TOY, [Example(str(n), ("film " * n, "the"), 0.0) for n in range(5)], "separate", 64)
    assert encoded.tokens.dtype == np.int32
    assert (encoded.lengths[:, 0] == np.arange(5) + 2).all()
