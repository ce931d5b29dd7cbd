"""Packing: nothing lost, nothing twice, few shapes."""

import dataclasses

import jax
import numpy as np
import pytest

from bert_jax.batches.batches import evaluation_batches, split_shares, training_batches
from bert_jax.batches.order import batch_indices, batches_per_epoch
from bert_jax.batches.packing import BatchShape, assign_rows, pack, plan_shapes
from bert_jax.tasks import TASKS
from tests.builders import batches_in_order, encode_ids, random_examples


def test_rows_are_filled_best_fit_decreasing():
    rows, columns, count = assign_rows(np.array([3, 7, 5, 2, 3]), 10)
    assert count == 2
    assert rows.tolist() == [0, 0, 1, 1, 1] and columns.tolist() == [7, 0, 0, 8, 5]


@pytest.mark.parametrize("seed", range(20))
def test_texts_in_a_row_do_not_overlap_and_fit(seed):
    rng = np.random.default_rng(seed)
    row_length = int(rng.integers(8, 65))
    lengths = rng.integers(1, row_length + 1, 40)
    rows, columns, count = assign_rows(lengths, row_length)
    taken = np.zeros((count, row_length), int)
    for row, column, length in zip(rows, columns, lengths, strict=True):
        assert column + length <= row_length
        taken[row, column : column + length] += 1
    assert taken.max() == 1 and taken.sum() == lengths.sum()
    assert count <= 1 + 2 * lengths.sum() / row_length  # at most one row is less than half full


def test_a_packed_batch_holds_every_token_at_its_place():
    encoded = encode_ids([[5, 6, 7], [8, 9], [10], [11, 12, 13, 14]], [[0, 0, 1], [0, 1], [1], [0] * 4], texts=2)
    batch = pack(encoded, np.array([1, 0]), BatchShape(2, 8), slots=3)
    flat = {name: np.asarray(getattr(batch, name)).reshape(-1) for name in
            ("token_ids", "segment_ids", "position_ids", "token_type_ids")}  # fmt: skip
    texts = {1: [10], 2: [11, 12, 13, 14], 3: [5, 6, 7], 4: [8, 9]}  # example 1 is first in the batch
    for segment, tokens in texts.items():
        at = flat["segment_ids"] == segment
        assert flat["token_ids"][at].tolist() == tokens
        assert flat["position_ids"][at].tolist() == list(range(len(tokens)))
        assert flat["token_ids"][np.asarray(batch.first_token).reshape(-1)[segment - 1]] == tokens[0]
    assert flat["token_type_ids"][flat["segment_ids"] == 3].tolist() == [0, 0, 1]
    assert (flat["segment_ids"] == 0).sum() == 6 and (flat["token_ids"][flat["segment_ids"] == 0] == 0).all()
    assert np.asarray(batch.weights).tolist() == [1, 1, 0] and np.asarray(batch.example_ids).tolist() == [1, 0, 0]


def test_a_batch_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="do not fit"):
        pack(encode_ids([[1] * 5, [2] * 5]), np.array([0, 1]), BatchShape(1, 8), slots=2)


def test_a_task_gets_at_most_two_shapes_and_every_batch_fits_its_own():
    encoded = random_examples(TASKS["quora"], 70, longest=50)
    batches = training_batches(encoded, "quora", seed=0, batch_size=16, count=23, shares=1, row_length=None)
    assert len(set(batches.shapes)) <= 2
    for number in range(len(batches)):
        batch = batches[number]
        weights = np.asarray(batch.weights)[0]
        assert batch.token_ids.shape == (1, *batches.shapes[number])
        assert weights.sum() == len(batches.indices[number])
        assert set(np.unique(batch.segment_ids)) - {0} == set(range(1, 2 * int(weights.sum()) + 1))


@pytest.mark.parametrize("row_length", [None, 64, 100])
def test_a_text_longer_than_a_row_gets_longer_rows(row_length):
    lengths = [[np.array([10, 20, 30])], [np.array([10, 150])], [np.array([60, 60])]]
    shapes = plan_shapes(lengths, row_length)
    assert len(shapes) == 3 and len(set(shapes)) <= 2
    assert shapes[1].length >= 150 and all(shape.length <= 256 for shape in shapes)


def test_a_second_shape_is_planned_only_where_it_pays():
    even = [[np.array([30, 30])] for _ in range(20)]
    assert set(plan_shapes(even, 64)) == {BatchShape(1, 64)}
    fuller = [[np.array([30, 30, 30])]]
    assert set(plan_shapes(even + fuller, 64)) == {BatchShape(1, 64), BatchShape(2, 64)}
    assert set(plan_shapes(even[:1] + 40 * fuller, 64)) == {BatchShape(2, 64)}


def test_devices_without_an_example_get_an_empty_share():
    encoded = random_examples(TASKS["sst"], 5)
    batches = batches_in_order(encoded, size=4, shares=4, row_length=None)
    assert len(batches) == 2
    assert np.asarray(batches[1].weights).tolist() == [[1], [0], [0], [0]]


def test_of_a_batch_a_process_reads_its_own_shares_alone():
    encoded = random_examples(TASKS["quora"], 27)
    whole = training_batches(encoded, "quora", seed=0, batch_size=10, count=3, shares=4, row_length=None)
    for number in range(3):
        others = np.concatenate(split_shares(whole.indices[number], 4)[:2])
        texts = (others[:, None] * 2 + np.arange(2)).reshape(-1)
        tokens = encoded.tokens.copy()
        for text in texts:
            tokens[encoded.offsets[text] : encoded.offsets[text + 1]] = -1
        elsewhere = dataclasses.replace(encoded, tokens=tokens)
        assert (np.asarray(dataclasses.replace(whole, encoded=elsewhere)[number].token_ids) == -1).any()
        own = dataclasses.replace(whole, encoded=elsewhere, own=range(2, 4))[number]
        for ours, all_of_them in zip(jax.tree.leaves(own), jax.tree.leaves(whole[number]), strict=True):
            np.testing.assert_array_equal(ours, all_of_them[2:])


@pytest.mark.parametrize("shares", [1, 3])
@pytest.mark.parametrize("row_length", [None, 24, 64])
@pytest.mark.parametrize("task", [TASKS["sst"], TASKS["quora"]], ids=lambda task: task.name)
def test_evaluation_packs_every_example_once_into_full_batches(task, row_length, shares):
    encoded = random_examples(task, 300, longest=60)
    batches = evaluation_batches(encoded, 16, shares, row_length)
    assert sorted(np.concatenate(batches.indices)) == list(range(300)) and len(set(batches.shapes)) <= 2
    for number, indices in enumerate(batches.indices):
        batch = batches[number]  # packing raises if something does not fit
        ids, weights = np.asarray(batch.example_ids), np.asarray(batch.weights)
        assert ids[weights > 0].tolist() == indices.tolist()
        assert batch.token_ids.shape == (shares, *batches.shapes[number])
    assert batches.computed_tokens < batches_in_order(encoded, 16, shares, row_length).computed_tokens


def test_every_example_comes_once_an_epoch_in_an_order_that_depends_on_seed_task_and_epoch():
    def epoch(seed, task, number):
        count = batches_per_epoch(50, 8)
        return np.concatenate([batch_indices(50, 8, seed, task, number, batch) for batch in range(count)])

    first = epoch(0, "sst", 0)
    assert sorted(first) == list(range(50))
    assert (first == epoch(0, "sst", 0)).all()
    for other in (epoch(1, "sst", 0), epoch(0, "sts", 0), epoch(0, "sst", 1)):
        assert sorted(other) == list(range(50)) and (other != first).any()
    assert len(batch_indices(50, 8, 0, "sst", 0, 6)) == 2  # the last one is smaller


def test_a_tasks_batches_run_on_into_the_next_epochs():
    encoded = random_examples(TASKS["sst"], 10)
    batches = training_batches(encoded, "sst", seed=3, batch_size=4, count=7, shares=1, row_length=None)
    for number, indices in enumerate(batches.indices):
        assert (indices == batch_indices(10, 4, 3, "sst", *divmod(number, 3))).all()
