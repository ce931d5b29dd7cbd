"""Masking and the corpus that it reads: how many, which, by what, and never what a score is computed on."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bert_jax.batches.corpus import make_corpus
from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.masking import MaskedTokens, MaskVocabulary, mask_tokens, mask_vocabulary, max_masked
from bert_jax.batches.packing import BatchShape, pack
from bert_jax.batches.tokenizer import SPECIAL_TOKENS, read_tokenizer
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Example, Table, find_file, read_table
from bert_jax.tasks import COURSE_TASKS, TASKS
from tests.builders import encode_ids

PAD, UNK, CLS, SEP, MASK = range(5)
VOCABULARY = MaskVocabulary(mask=MASK, special=np.arange(5), ordinary=np.arange(5, 50))


def texts_of(words: int, texts: int, seed: int = 0) -> EncodedExamples:
    """Many texts of as many ordinary tokens, framed."""
    ids = np.full((texts, words + 2), CLS)
    ids[:, 1:-1] = np.random.default_rng(seed).integers(5, 50, (texts, words))
    ids[:, -1] = SEP
    return encode_ids(ids.tolist())


def mask(encoded: EncodedExamples, indices=None, seed: int = 0, epoch: int = 0) -> MaskedTokens:
    return mask_tokens(encoded, np.arange(len(encoded)) if indices is None else indices, VOCABULARY, seed, epoch)


def by_text(masked: MaskedTokens, indices) -> dict[int, list[tuple[int, ...]]]:
    """(position, original, replacement) of every masked token of each example with one text."""
    found = {int(index): [] for index in indices}
    for text, *rest in zip(*(field.tolist() for field in masked), strict=True):
        found[int(indices[text])].append(tuple(rest))
    return found


@pytest.mark.parametrize("words", [1, 2, 6, 7, 20, 33])
def test_fifteen_percent_of_the_tokens_are_masked_at_every_length(words):
    texts = 4000
    counts = np.bincount(mask(texts_of(words, texts)).text, minlength=texts)
    assert set(counts) <= {int(0.15 * words), int(0.15 * words) + 1}
    share = 0.15 * words - int(0.15 * words)
    assert abs(counts.mean() - 0.15 * words) <= 4.5 * np.sqrt(share * (1 - share) / texts) + 1e-9


def test_the_number_of_masked_tokens_has_a_bound_that_lengths_alone_give_and_that_is_reached():
    sizes = [0, 1, 5, 6, 7, 13, 20, 40, 100]
    encoded = encode_ids([[CLS, *[7] * size, SEP] for size in sizes])
    counts = np.array([np.bincount(mask(encoded, epoch=epoch).text, minlength=len(sizes)) for epoch in range(300)])
    for number, size in enumerate(sizes):
        most = counts[:, number].max()
        assert most == max_masked(encoded.lengths[number]) or (size % 20 == 0 and most == 0.15 * size)
    assert max_masked(encoded.lengths) == sum(max_masked(length) for length in encoded.lengths)


def test_special_tokens_are_neither_masked_nor_counted_nor_put_in_anothers_place():
    rng = np.random.default_rng(1)
    encoded = encode_ids([[CLS, *rng.integers(0, 10, 40).tolist(), SEP] for _ in range(2000)])  # half are special
    masked = mask(encoded)
    assert (masked.original >= 5).all()
    assert set(masked.replacement) == {MASK, *range(5, 50)}
    ordinary = np.add.reduceat(encoded.tokens >= 5, encoded.offsets[:-1])
    counts = np.bincount(masked.text, minlength=2000)
    assert ((counts == np.floor(0.15 * ordinary)) | (counts == np.floor(0.15 * ordinary) + 1)).all()


def test_of_the_masked_eighty_percent_become_mask_ten_another_word_and_ten_stay():
    masked = mask(texts_of(100, 4000))
    size = len(masked.text)
    other = (masked.replacement != MASK) & (masked.replacement != masked.original)
    for found, share in ((masked.replacement == MASK, 0.8), (other, 0.1 * 44 / 45)):
        assert abs(found.mean() - share) < 4.5 * np.sqrt(share * (1 - share) / size)
    words = np.bincount(masked.replacement[other], minlength=50)[5:]
    assert abs(((words - words.mean()) ** 2 / words.mean()).sum() - 44) < 4.5 * np.sqrt(2 * 44)


def test_every_position_is_masked_equally_often_and_pairs_of_them_as_by_chance():
    texts, words = 20_000, 20
    masked = mask(texts_of(words, texts))
    at = np.zeros((texts, words), bool)
    at[masked.text, masked.position - 1] = True
    sigma = np.sqrt(0.15 * 0.85 / texts)
    assert np.abs(at.mean(0) - 0.15).max() < 4.5 * sigma
    together = at.T.astype(float) @ at / texts  # three of twenty: a pair with probability 3/20 * 2/19
    pair = 3 / 20 * 2 / 19
    assert np.abs(together[np.triu_indices(words, 1)] - pair).max() < 5 * np.sqrt(pair * (1 - pair) / texts)


@pytest.mark.parametrize("other", [{"epoch": 1}, {"seed": 1}], ids=["epoch", "seed"])
def test_masks_are_new_and_independent_in_another_epoch_and_with_another_seed(other):
    encoded = texts_of(100, 2000)
    first, second = (set(zip(m.text.tolist(), m.position.tolist(), strict=True)) for m in
                     (mask(encoded), mask(encoded, **other)))  # fmt: skip
    again = len(first & second) / len(first)
    assert abs(again - 0.15) < 4.5 * np.sqrt(0.15 * 0.85 / len(first))
    assert mask(encoded).replacement.tolist() != mask(encoded, **other).replacement.tolist()


def test_the_texts_of_one_epoch_are_masked_independently():
    masked = mask(encode_ids([[CLS, *range(5, 45), SEP]] * 3000))
    at = np.zeros((3000, 42), bool)
    at[masked.text, masked.position] = True
    for apart in (1, 2, 7):
        agreement = (at[apart:] & at[:-apart])[:, 1:-1].mean()
        assert abs(agreement - 0.15**2) < 4.5 * np.sqrt(0.15**2 / (3000 * 40))


def test_a_text_is_masked_alike_in_whatever_batch_and_order_it_is():
    encoded = texts_of(17, 60)
    everything = by_text(mask(encoded, epoch=3), np.arange(60))
    order = np.random.default_rng(5).permutation(60)
    for start in range(0, 60, 7):
        batch = order[start : start + 7]
        for text, tokens in by_text(mask(encoded, batch, epoch=3), batch).items():
            assert tokens == everything[text]


def test_masks_are_those_that_earlier_versions_made():
    """A run that goes on with a newer version must find the masks that it had; nothing of them is saved."""
    masked = mask(texts_of(20, 3), seed=11711, epoch=1)
    assert [field.tolist() for field in masked] == [
        [0, 0, 0, 1, 1, 1, 2, 2, 2],
        [2, 3, 5, 3, 7, 19, 2, 12, 20],
        [33, 28, 18, 35, 29, 26, 6, 22, 34],
        [4, 4, 38, 4, 29, 4, 4, 4, 34],
    ]


@pytest.mark.parametrize("texts", [1, 2])
def test_masked_tokens_are_found_again_in_a_packed_batch(texts):
    rng = np.random.default_rng(2)
    ids = [[CLS, *rng.integers(5, 50, rng.integers(1, 30)).tolist(), SEP] for _ in range(24)]
    encoded = encode_ids(ids, texts=texts)
    indices = np.array([7, 2, 11, 0, 5])
    before = encoded.tokens.copy()
    masked, batch = mask(encoded, indices), pack(encoded, indices, BatchShape(10, 40), slots=6)
    at = np.asarray(batch.first_token).reshape(-1)[masked.text] + masked.position
    assert len(at) > 5 and len(set(at.tolist())) == len(at)
    assert (np.asarray(batch.token_ids).reshape(-1)[at] == masked.original).all()
    assert (np.asarray(batch.segment_ids).reshape(-1)[at] == masked.text + 1).all()
    assert (np.asarray(batch.position_ids).reshape(-1)[at] == masked.position).all()
    assert (encoded.tokens == before).all()


def test_ids_are_special_or_ordinary():
    vocab = read_tokenizer(SAMPLE).vocab
    vocabulary = mask_vocabulary(vocab)
    assert vocabulary.mask == vocab["[MASK]"]
    assert set(vocabulary.special) == {vocab[token] for token in SPECIAL_TOKENS}
    assert sorted([*vocabulary.special, *vocabulary.ordinary]) == sorted(vocab.values())


def table(name: str, *rows: tuple[str, ...]) -> Table:
    return Table(Path("data") / name, [Example(f"r{n}", texts, 1.0) for n, texts in enumerate(rows)], skipped=0)


def test_a_corpus_is_every_text_of_the_train_tables_once_in_their_order():
    corpus = make_corpus([table("a.csv", ("One",), ("Two",)), table("b.csv", ("two", "Three"), ("three ", "four"))], [])
    assert [(example.id, example.texts, example.label) for example in corpus.examples] == [
        ("a.csv:r0:1", ("One",), None),
        ("a.csv:r1:1", ("Two",), None),
        ("b.csv:r0:2", ("Three",), None),
        ("b.csv:r1:2", ("four",), None),
    ]
    assert (corpus.duplicates, corpus.held_out, corpus.empty) == (2, 0, 0)


def test_a_corpus_has_no_text_of_a_dev_or_test_table_in_whatever_case_and_spacing():
    train = table("a.csv", ("The film  is GOOD .",), ("Straße",), ("A cat",), (" ",), ("a CAT",), ("Kept",))
    held_out = [table("dev.csv", ("the film is good .", "")), table("test.csv", ("STRASSE", "x"), ("y", "A\tcat\n"))]
    corpus = make_corpus([train], held_out)
    assert [example.texts for example in corpus.examples] == [("Kept",)]
    assert (corpus.duplicates, corpus.held_out, corpus.empty) == (0, 4, 1)


def test_a_dev_row_without_a_label_is_held_out_too(tmp_path):
    path = tmp_path / "ids-sst-dev.csv"
    path.write_text("\tid\tsentence\tsentiment\n0\ta\tIt is fun .\t\n1\tb\tIt is not .\t1\n")
    train = [table("a.csv", ("it is fun .",))]
    assert make_corpus(train, [read_table(path, TASKS["sst"], labelled=False)]).held_out == 1


def test_the_courses_tables_make_a_corpus_without_dev_or_test_texts(course):
    def read(*splits):
        return [
            read_table(find_file(course, task, split), task, False)
            for task in COURSE_TASKS.values()
            for split in splits
        ]

    train, held_out = read("train"), read("dev", "test")
    corpus = make_corpus(train, held_out)
    texts = Counter(" ".join(example.texts[0].lower().split()) for example in corpus.examples)
    assert max(texts.values()) == 1
    for each in held_out:
        for example in each.examples:
            assert not any(" ".join(text.lower().split()) in texts for text in example.texts)
    total = sum(len(example.texts) for each in train for example in each.examples)
    assert total == len(texts) + corpus.duplicates + corpus.held_out + corpus.empty
    assert corpus.held_out > 100 and len(texts) > 10_000
