"""The state with its layers stacked, in which form one GPU trains it: few arrays instead of hundreds.

For each array that goes into a step and comes out of it the host does some work, and each that the optimizer moves is
a launch of its own. BERT-base's parameters and moments with one head are 463 arrays, for which the host was busy for
longer than the GPU; with all layers' kernels of a kind in one array, and their biases in another, they are 67.
"""

from collections.abc import Callable
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
from jax import Array

STACKED, SHARED, WORDS = "layers", "embeddings", "word"  # names in an encoder's tree; a task may be called like them


def is_stacked(tree: Any) -> bool:
    """Whether this is an encoder's tree, of parameters or of moments, with its layers stacked."""
    return _is_encoder(tree) and tree.keys() == {SHARED, STACKED}


def is_split(tree: Any) -> bool:
    """Whether this is an encoder's tree with a tree for each layer."""
    return _is_encoder(tree) and tree.keys() == {SHARED, *(f"layer_{index}" for index in range(len(tree) - 1))}


def _is_encoder(tree: Any) -> TypeGuard[dict[str, Any]]:
    """Whether this is an encoder's tree: one with word embeddings, which no head has."""
    return (
        isinstance(tree, dict) and {SHARED} < tree.keys() and isinstance(tree[SHARED], dict) and WORDS in tree[SHARED]
    )


def stack_layers(tree: Any) -> Any:
    """An encoder's "layer_0", "layer_1" ... -> "layers", wherever it stands in a tree; all else stays as it is.

    Matrices get a leading axis, [layers, inputs, outputs]. Vectors are laid end to end, [layers * features], so that
    they are vectors still to the optimizer, which leaves them out of weight decay.
    """

    def stack(tree: dict[str, Any]) -> dict[str, Any]:
        layers = [tree[f"layer_{index}"] for index in range(len(tree) - 1)]
        stacked = jax.tree.map(lambda *x: jnp.stack(x) if x[0].ndim > 1 else jnp.concatenate(x), *layers)
        return {SHARED: tree[SHARED], STACKED: stacked}

    return _replace(tree, is_split, stack)


def split_layers(tree: Any) -> Any:
    """What `stack_layers` was given, of its result; a tree without stacked layers as it is."""

    def split(tree: dict[str, Any]) -> dict[str, Any]:
        stacked = tree[STACKED]
        count = max(x.shape[0] for x in jax.tree.leaves(stacked) if x.ndim > 2)

        def layer(index: int) -> Any:
            def own(x: Array) -> Array:
                return (x if x.ndim > 2 else x.reshape(count, -1))[index]

            return jax.tree.map(own, stacked)

        return {SHARED: tree[SHARED]} | {f"layer_{index}": layer(index) for index in range(count)}

    return _replace(tree, is_stacked, split)


def _replace(tree: Any, is_found: Callable[[Any], bool], function: Callable[[dict[str, Any]], Any]) -> Any:
    def replaced(leaf: Any) -> Any:
        return function(leaf) if is_found(leaf) else leaf

    return jax.tree.map(replaced, tree, is_leaf=is_found)
