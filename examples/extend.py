"""A scheduler and a loss of your own: python -m train.main --extend=examples/extend.py --scheduler=temperature."""

import random

import jax.numpy as jnp

POWER = 0.5  # 1 draws tasks in proportion to their batches, 0 all alike


def temperature(batches, epochs, seed):
    """Draw the task of each update at random, in proportion to its number of batches to the power of POWER."""
    draw = random.Random(seed)
    weights = [count**POWER for count in batches.values()]
    for _ in range(epochs * sum(batches.values())):
        yield draw.choices(list(batches), weights)[0]


def huber(scores, labels):
    """Squared error below an error of 1, and linear above: [examples] -> [examples]."""
    error = jnp.abs(scores - labels)
    return jnp.where(error < 1, 0.5 * error**2, error - 0.5)


SCHEDULERS = {"temperature": temperature}
LOSSES = {"similarity": huber}
