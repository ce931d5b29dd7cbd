"""One step: the only place where a loss is reduced, differentiated and applied."""

from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array

from bert_jax.config import ModelConfig
from bert_jax.dropout import make_noise
from bert_jax.heads import Params, predict_logits, used_parts
from bert_jax.packing import PackedBatch
from bert_jax.tasks import Task
from train.losses import LOSSES

LARGEST = 1e18  # of a gradient: Adam squares it, and 1e36 is still a float32

TrainStep = Callable[..., tuple["TrainState", dict[str, Array]]]
PredictStep = Callable[[Params, PackedBatch], Array]


class TrainState(struct.PyTreeNode):
    """Everything that changes while training.

    step: [] int32, updates done.
    params: part -> tree; `opt_state` has the optimizer's state of each part that is trained.
    """

    step: Array
    params: Params
    opt_state: dict[str, Any]


def trained_parts(model: ModelConfig, task: Task, heads_only: bool) -> tuple[str, ...]:
    """The parts that a step of a task moves: all it uses, or its head alone."""
    return tuple(part for part in used_parts(model, task) if not heads_only or part == task.name)


def init_state(params: Params, tx: optax.GradientTransformation, trained: Collection[str]) -> TrainState:
    """A state before the first update; only parts in `trained` get an optimizer state."""
    opt_state = {part: tx.init(tree) for part, tree in params.items() if part in trained}
    return TrainState(step=jnp.zeros((), jnp.int32), params=params, opt_state=opt_state)


def make_train_step(
    model: ModelConfig, task: Task, tx: optax.GradientTransformation, trained: tuple[str, ...], seed: int
) -> TrainStep:
    """A pure function (state, batch, axis_name=None) -> (state, metrics) that does one update of one task.

    Each part has an optimizer state of its own and only the task's parts are updated: momentum or weight decay would
    move an idle head even though its gradient is zero.

    The loss is sum(weights * loss) / sum(weights) over the whole batch. With an `axis_name` the batch is one device's
    share of it, and the sums go over all devices before the division. Each device differentiates its own share and the
    gradients are added afterwards; differentiating through the sum over devices would count it twice.

    An update whose loss or gradient is not finite is skipped: only the step is counted, and "applied" is False. So no
    state ever holds a value that is not finite.
    """

    def train_step(state: TrainState, batch: PackedBatch, axis_name: str | None = None):
        def all_devices(x):
            return x if axis_name is None else jax.lax.psum(x, axis_name)

        noise = make_noise(seed, state.step, batch, model.bert.max_position_embeddings)
        total = all_devices(jnp.sum(jnp.asarray(batch.weights)))

        def share_of_loss(moving: Params) -> Array:
            logits = predict_logits(model, task, {**state.params, **moving}, batch, noise)
            losses = LOSSES[task.kind](logits, jnp.asarray(batch.labels))
            return jnp.sum(losses * batch.weights) / total

        moving = {part: state.params[part] for part in trained}
        loss, gradients = all_devices(jax.value_and_grad(share_of_loss)(moving))
        applied = is_usable(loss, gradients)

        def if_applied(new, old):
            return jax.tree.map(lambda a, b: jnp.where(applied, a, b), new, old)

        params, opt_state = dict(state.params), dict(state.opt_state)
        for part in trained:
            updates, moments = tx.update(gradients[part], opt_state[part], params[part])
            params[part] = if_applied(optax.apply_updates(params[part], updates), params[part])
            opt_state[part] = if_applied(moments, opt_state[part])
        return TrainState(state.step + 1, params, opt_state), {"loss": loss, "applied": applied}

    return train_step


def is_usable(loss: Array, gradients: Any) -> Array:
    """Whether a loss and all gradients are finite, and small enough for Adam: [] bool."""
    small = [jnp.all(jnp.abs(leaf) < LARGEST) for leaf in jax.tree.leaves(gradients)]  # NaN is not
    return jnp.all(jnp.stack([jnp.isfinite(loss), *small]))


def make_predict_step(model: ModelConfig, task: Task) -> PredictStep:
    """A pure function (params, batch) -> raw outputs [examples, ...], without dropout."""

    def predict_step(params: Params, batch: PackedBatch) -> Array:
        return predict_logits(model, task, params, batch)

    return predict_step
