"""Small models, texts and batches to test with."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.batches.batches import Batches, split_shares
from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.packing import BatchShape, PackedBatch, assign_rows, pack, plan_shapes
from bert_jax.config import BertConfig, ModelConfig
from bert_jax.heads import Params, init_params
from bert_jax.tasks import TASKS, Task
from train.config import TrainConfig
from train.inputs import read_inputs
from train.resolve import model_config, resolve
from train.runs.checkpoint import Checkpoints
from train.runs.folder import start_run
from train.step import TrainState

TINY = BertConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=64,
)
THREE = (TASKS["sst"], TASKS["quora"], TASKS["sts"])


def encode_ids(
    token_ids: Sequence[Sequence[int]],
    token_types: Sequence[Sequence[int]] | None = None,
    texts: int = 1,
    labels: Sequence[float] | None = None,
) -> EncodedExamples:
    """Token ids as if a tokenizer had made them; `texts` of them an example."""
    types = token_types or [[0] * len(ids) for ids in token_ids]
    examples = len(token_ids) // texts
    return EncodedExamples(
        tokens=np.concatenate([np.asarray(ids, np.int32) for ids in token_ids]),
        token_types=np.concatenate([np.asarray(each, np.int32) for each in types]),
        offsets=np.concatenate([[0], np.cumsum([len(ids) for ids in token_ids])]),
        labels=np.asarray(labels if labels is not None else np.zeros(examples), np.float32),
        ids=[str(number) for number in range(examples)],
        texts=texts,
        truncated=0,
    )


def random_examples(task: Task, examples: int, seed: int = 0, longest: int = 20) -> EncodedExamples:
    """Random texts of 2 to `longest` tokens with random labels; a pair is two texts."""
    rng = np.random.default_rng(seed)
    texts = 2 if task.is_pair else 1
    ids = [rng.integers(1, TINY.vocab_size, rng.integers(2, longest + 1)).tolist() for _ in range(examples * texts)]
    labels = rng.integers(0, task.max_label + 1, examples)
    return encode_ids(ids, texts=texts, labels=labels.tolist())


def packed(encoded: EncodedExamples, indices: Sequence[int], length: int, slots: int | None = None) -> PackedBatch:
    """The examples in as few rows as they need."""
    chosen = np.asarray(indices)
    rows = assign_rows(encoded.lengths[chosen].reshape(-1), length)[2]
    return pack(encoded, chosen, BatchShape(rows, length), slots or len(chosen))


def padded(encoded: EncodedExamples, indices: Sequence[int], length: int) -> PackedBatch:
    """The same batch one text a row: written out here, apart from `pack`, to be compared with it."""
    rows = len(indices) * encoded.texts
    arrays = {name: np.zeros((rows, length), np.int32) for name in ("token", "segment", "position", "kind")}
    for row in range(rows):
        text = indices[row // encoded.texts] * encoded.texts + row % encoded.texts
        begin, end = encoded.offsets[text], encoded.offsets[text + 1]
        size = end - begin
        arrays["token"][row, :size] = encoded.tokens[begin:end]
        arrays["kind"][row, :size] = encoded.token_types[begin:end]
        arrays["segment"][row, :size] = row + 1
        arrays["position"][row, :size] = np.arange(size)
    return PackedBatch(
        token_ids=arrays["token"],
        segment_ids=arrays["segment"],
        position_ids=arrays["position"],
        token_type_ids=arrays["kind"],
        first_token=(np.arange(rows, dtype=np.int32) * length).reshape(-1, encoded.texts),
        labels=encoded.labels[np.asarray(indices)],
        weights=np.ones(len(indices), np.float32),
        example_ids=np.asarray(indices, np.int32),
    )


def batches_in_order(encoded: EncodedExamples, size: int, shares: int, row_length: int | None) -> Batches:
    """Batches of as many examples each, in the order of the table."""
    indices = [np.arange(start, min(start + size, len(encoded))) for start in range(0, len(encoded), size)]
    lengths = [[encoded.lengths[s].reshape(-1) for s in split_shares(batch, shares)] for batch in indices]
    return Batches(encoded, indices, plan_shapes(lengths, row_length), -(-size // shares), shares)


def tiny_model(**changes) -> ModelConfig:
    return ModelConfig(bert=TINY, **changes)


def lively_params(model: ModelConfig, tasks: Sequence[Task] = THREE, seed: int = 0, scale: float = 8.0) -> Params:
    """Random parameters large enough that attention and heads are far from uniform."""
    return jax.tree.map(lambda x: x * scale if x.ndim > 1 else x + 0.1, init_params(model, tasks, seed))


def moved_parts(before: TrainState, after: TrainState) -> set[str]:
    """The parts of which a parameter or a moment has changed."""

    def moved(part: str) -> bool:
        leaves = [jax.tree.leaves((state.params[part], state.opt_state[part])) for state in (before, after)]
        return any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(*leaves, strict=True))

    return {part for part in before.params if moved(part)}


def begin(config: TrainConfig) -> Params:
    """A run with a checkpoint of random weights, which come back; no train step is compiled."""
    config = resolve(config)
    inputs = read_inputs(config)
    with start_run(config, inputs.bert, inputs.tokenizer, inputs.hashes, inputs.checkpoint_bytes, inputs.own) as folder:
        params = init_params(model_config(config, inputs.bert), list(inputs.tables), config.run.seed)
        state = TrainState(step=jnp.asarray(1), params=params, opt_state={"bert": np.zeros(1)})
        checkpoints = Checkpoints(folder.checkpoints, folder.fingerprint)
        checkpoints.save(state, {})
        checkpoints.close()
    return params
