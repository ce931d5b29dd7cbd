"""Builds of the program that count wrong on several devices, or forget that there are others; see `sabotage.py`."""


def means_of_means() -> None:
    """Each device takes the mean of its own share, and the devices take the mean of those."""
    import jax

    real = jax.lax.psum

    def psum(value, axis_name, **options):
        losses_and_gradients = isinstance(value, tuple)
        return real(value, axis_name, **options) if losses_and_gradients else value * jax.lax.axis_size(axis_name)

    jax.lax.psum = psum


def dropout_by_place() -> None:
    """An example's masks depend on its place in the share, not on which example it is."""
    import jax.numpy as jnp

    from train import step

    real = step.make_noise

    def make_noise(seed, number, batch, *rest):
        return real(seed, number, batch.replace(example_ids=jnp.arange(len(batch.example_ids))), *rest)

    step.make_noise = make_noise


def parts_count_alike() -> None:
    """The mean of each part of a batch, and the mean of those, as optax.MultiSteps takes it."""
    import jax
    import jax.numpy as jnp

    from train import step

    real = step.add_up

    def add_up(function, parts):
        total, count = jnp.sum(parts.weights), len(parts.weights)

        def mean_of_part(part):
            scale = total / (count * jnp.maximum(jnp.sum(part.weights), 1))
            return jax.tree.map(lambda value: value * scale, function(part))

        return real(mean_of_part, parts)

    step.add_up = add_up


def shares_of_the_first_process() -> None:
    """Every process packs the shares that the first one packs."""
    import dataclasses

    from bert_jax.batches.batches import Batches

    real = Batches.__getitem__

    def getitem(self, number):
        return real(dataclasses.replace(self, own=self.own and range(len(self.own))), number)

    Batches.__getitem__ = getitem  # type: ignore[method-assign]


def rows_as_batched() -> None:
    """What is predicted stays in the order in which it was computed."""
    import numpy as np

    from eval import evaluate

    def predict_split(predict_fn, batches, check=lambda: None):
        return np.concatenate([predict_fn(batches[number]) for number in range(len(batches))])

    evaluate.predict_split = predict_split


def last_batch_left_out() -> None:
    """A batch that is not full is not scored."""
    import dataclasses

    from bert_jax.batches import batches

    real = batches.evaluation_batches

    def evaluation_batches(*arguments, **options):
        found = real(*arguments, **options)
        full = max(map(len, found.indices))
        kept = [indices for indices in found.indices if len(indices) == full]
        return dataclasses.replace(found, indices=kept, shapes=found.shapes[: len(kept)])

    batches.evaluation_batches = evaluation_batches


def workers_outlive_their_supervisor() -> None:
    from train.devices import supervisor

    supervisor._end_with = lambda held: None


DEVICES = (
    means_of_means,
    dropout_by_place,
    parts_count_alike,
    shares_of_the_first_process,
    rows_as_batched,
    last_batch_left_out,
    workers_outlive_their_supervisor,
)
