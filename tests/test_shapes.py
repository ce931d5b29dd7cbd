"""The checks that `conftest.py` switches on: of the shapes and types in signatures, and of ranks."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from bert_jax.batches.batches import split_shares
from bert_jax.batches.packing import assign_rows
from bert_jax.dropout import dropout, keep_mask, make_noise
from bert_jax.heads import Pooler, cosine_similarity
from bert_jax.modules import attention_bias
from bert_jax.tasks import TASKS
from tests.builders import TINY, packed, random_examples
from tests.typechecking import MODULES
from train.losses import LOSSES
from train.step import update_if

ENCODED = random_examples(TASKS["quora"], 3)
BATCH = packed(ENCODED, range(3), 40)
WRONG: dict[str, Callable[[], object]] = {
    "bert_jax.batches.batches": lambda: split_shares(np.zeros((2, 3), np.int64), 2),
    "bert_jax.batches.encoded": lambda: dataclasses.replace(ENCODED, offsets=np.linspace(0, 1, 7)).lengths,
    "bert_jax.batches.packing": lambda: assign_rows(np.ones(3), 8),
    "bert_jax.dropout": lambda: dropout(jnp.ones((3, 1, 16)), 0.1, make_noise(0, 0, BATCH, 64), 0, jnp.ones((3, 2))),
    "bert_jax.heads": lambda: cosine_similarity(jnp.ones((3, 2)), jnp.ones((1, 2))),
    "bert_jax.modules": lambda: attention_bias(jnp.ones(3, jnp.int32)),
    "train.losses": lambda: LOSSES["similarity"](jnp.ones(3), jnp.ones(1)),
    "train.step": lambda: update_if(jnp.ones(1, bool), lambda old: old, jnp.ones(3)),
}


def test_each_of_these_modules_has_a_wrong_call_below():
    assert set(WRONG) == set(MODULES)


@pytest.mark.parametrize("module", WRONG)
def test_an_array_that_is_not_of_the_shape_or_type_that_a_signature_says_is_refused(module):
    with pytest.raises(TypeCheckError, match=module):
        WRONG[module]()


def test_methods_of_linen_modules_are_checked_too():
    with pytest.raises(TypeCheckError, match=r"heads\.Pooler\.__call__"):
        Pooler(TINY).init(jax.random.key(0), jnp.ones((2, 16), jnp.int32))


def test_what_broadcasts_must_have_the_same_rank_or_be_spelt_out():
    key, counter = jnp.uint32(1), jnp.ones((4, 1), jnp.uint32)
    assert keep_mask(key, 0, counter, jnp.ones((1, 3), jnp.uint32), 0.5).shape == (4, 3)
    with pytest.raises(ValueError, match="numpy_rank_promotion"):
        keep_mask(key, 0, counter, jnp.ones(3, jnp.uint32), 0.5)
    with pytest.raises(TypeCheckError, match="counter"):
        keep_mask(key, 0, jnp.ones((4, 2), jnp.uint32), jnp.ones((1, 3), jnp.uint32), 0.5)


def test_trees_may_hold_anything_as_jax_fills_them():
    leaves, form = jax.tree.flatten(BATCH)
    assert jax.tree.unflatten(form, [object()] * len(leaves)).token_ids is not BATCH.token_ids
    assert jax.tree.map(lambda _: None, BATCH).labels is None
