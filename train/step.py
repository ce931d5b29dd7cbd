"""One step: the only place where a loss is reduced, differentiated and applied."""

import functools
import operator
from collections.abc import Callable, Collection
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array
from jaxtyping import Bool, Float, Float32, Int32

from bert_jax.batches.packing import PackedBatch
from bert_jax.config import ModelConfig
from bert_jax.dropout import make_noise
from bert_jax.heads import HEADS, Params, predict_logits, used_parts
from bert_jax.tasks import Task
from train.losses import LOSSES
from train.stacking import is_stacked, split_layers, stack_layers

Tree = TypeVar("Tree")
TrainStep = Callable[..., tuple["TrainState", dict[str, Array]]]
PredictStep = Callable[[Params, PackedBatch], Array]


class TrainState(struct.PyTreeNode):
    """Everything that changes while training.

    step: updates done.
    params: part -> tree; `opt_state` has the optimizer's state of each part that is trained. Both may have their layers
      stacked (`stacking.py`).
    """

    step: Int32[Array, ""]
    params: Params
    opt_state: dict[str, Any]


def trained_parts(model: ModelConfig, task: Task, frozen: Collection[str] = ()) -> tuple[str, ...]:
    """The parts that a step of a task moves: all it uses but those that are frozen."""
    return tuple(part for part in used_parts(model, task) if part not in frozen)


def init_state(params: Params, tx: optax.GradientTransformation, trained: Collection[str]) -> TrainState:
    """A state before the first update; only parts in `trained` get an optimizer state."""
    opt_state = {part: tx.init(tree) for part, tree in params.items() if part in trained}
    return TrainState(step=jnp.zeros((), jnp.int32), params=params, opt_state=opt_state)


def make_train_step(
    model: ModelConfig,
    task: Task,
    tx: optax.GradientTransformation,
    trained: tuple[str, ...],
    seed: int,
    accumulate: int = 1,
) -> TrainStep:
    """A pure function (state, batch, axis_name=None) -> (state, metrics) that does one update of one task.

    Each part has an optimizer state of its own and only the task's parts are updated: momentum or weight decay would
    move an idle head even though its gradient is zero.

    The loss is sum(weights * loss) / sum(weights) over the whole batch. With an `axis_name` the batch is one device's
    share of it, and the sums go over all devices before the division. Each device differentiates its own share and the
    gradients are added afterwards; differentiating through the sum over devices would count it twice.

    With `accumulate` above 1 the batch has one more leading axis of that size: parts of the share, which are
    differentiated one after the other and whose sums are added. It is the same update in less memory.

    An update whose loss or gradient is not finite is skipped: only the step is counted, and "applied" is False. So no
    state ever holds a value that is not finite.
    """

    def train_step(
        state: TrainState, batch: PackedBatch, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Array]]:
        def all_devices(x: Tree) -> Tree:
            return x if axis_name is None else cast(Tree, jax.lax.psum(x, axis_name))

        by_layer = split_layers(state.params)
        total = all_devices(jnp.sum(jnp.asarray(batch.weights)))
        total = jnp.where(total == 0, 1, total)  # a batch of masked LM may have no masked token: its loss is 0, not 0/0

        def share_of_loss(moving: Params, part: PackedBatch) -> Float32[Array, ""]:
            noise = make_noise(seed, state.step, part, model.bert.max_position_embeddings)
            logits = predict_logits(model, task, {**by_layer, **moving}, part, noise)
            losses = LOSSES[task.kind](logits, jnp.asarray(part.labels))
            return jnp.sum(losses * part.weights) / total

        differentiate: Callable[[PackedBatch], tuple[Array, Params]] = functools.partial(
            jax.value_and_grad(share_of_loss), {p: by_layer[p] for p in trained}
        )
        loss, gradients = all_devices(differentiate(batch) if accumulate == 1 else add_up(differentiate, batch))
        gradients = {p: stack_layers(g) if is_stacked(state.params[p]) else g for p, g in gradients.items()}
        applied = is_usable(loss, gradients)

        def update(old: dict[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
            new: dict[str, tuple[Any, Any]] = {}
            for part, (params, moments) in old.items():
                updates, moments = tx.update(gradients[part], moments, params)
                new[part] = optax.apply_updates(params, updates), moments
            return new

        moved = update_if(applied, update, {part: (state.params[part], state.opt_state[part]) for part in trained})
        params = {**state.params, **{part: values for part, (values, _) in moved.items()}}
        opt_state = {**state.opt_state, **{part: moments for part, (_, moments) in moved.items()}}
        return TrainState(state.step + 1, params, opt_state), {"loss": loss, "applied": applied}

    return train_step


def add_up(function: Callable[[PackedBatch], Tree], parts: PackedBatch) -> Tree:
    """The sum of function(part) over the leading axis of all arrays of a batch, one part at a time."""

    def zeros(shape: jax.ShapeDtypeStruct) -> Array:
        return jnp.zeros(shape.shape, shape.dtype)

    def add(total: Tree, part: PackedBatch) -> tuple[Tree, None]:
        return jax.tree.map(jnp.add, total, function(part)), None

    result = jax.eval_shape(function, jax.tree.map(operator.itemgetter(0), parts))
    return jax.lax.scan(add, jax.tree.map(zeros, result), parts)[0]


def is_usable(loss: Float32[Array, ""], gradients: Any) -> Bool[Array, ""]:
    """Whether a loss and all gradients are finite, and so are the gradients' squares, which Adam keeps."""
    return jnp.isfinite(loss) & jnp.isfinite(optax.global_norm(gradients))


def update_if(applied: Bool[Array, ""], update: Callable[[Tree], Tree], old: Tree) -> Tree:
    """update(old), or `old` if not `applied`, the same bits either way that it is computed.

    On a CPU a branch lets XLA write each array where the old one was; to choose value by value it copies two of three
    arrays first, which takes longer than the update. On a GPU it copies none, and a branch would wait for the host.
    """

    def leave(old: Tree) -> Tree:
        return old

    if jax.default_backend() == "cpu":
        return cast(Tree, jax.lax.cond(applied, update, leave, old))
    return jax.tree.map(functools.partial(jnp.where, applied), update(old), old)


def make_predict_step(model: ModelConfig, task: Task) -> PredictStep:
    """A pure function (params, batch) -> what the task's head gives an evaluation, a row each, without dropout."""

    def predict_step(params: Params, batch: PackedBatch) -> Float[Array, "targets ..."]:
        return HEADS[task.kind].outputs(predict_logits(model, task, split_layers(params), batch), batch)

    return predict_step
