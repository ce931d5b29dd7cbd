"""Hugging Face's tensors <-> parameters: their names and layouts, which end at this file.

Inside, query, key and value are one.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bert_jax.config import BertConfig
from bert_jax.errors import WeightsError, quote
from bert_jax.tasks import MASKED_LM, PARTS, TASKS, Task

# Tensors of other heads and old buffers: no part of an encoder, and no mistake.
OTHER_TENSORS = re.compile(r"(cls|classifier|qa_outputs)\.|(.*\.)?position_ids$")
HEADS = "heads."  # what the names of the heads of tasks begin with
HEAD = re.compile(rf"heads\.(?!(?:{'|'.join(PARTS)})\.)([a-z][a-z0-9_]*)\.(?:weight|bias)")
FLOATS = ("F64", "F32", "F16", "BF16")
NAMED = 4  # tensors that an error names before it counts the rest


class Entry(NamedTuple):
    """One of our arrays and the Hugging Face tensors that it is made of."""

    path: tuple[str, ...]  # part, then the names inside it
    names: tuple[str, ...]
    shape: tuple[int, ...]  # of each tensor, as Hugging Face stores it
    transpose: bool = False  # a linear layer: stored [out, in], applied here as [in, out]


def entries(config: BertConfig) -> list[Entry]:
    """Every array of the encoder and the pooler, with the names that `BertModel` gives its tensors."""
    hidden, inner = config.hidden_size, config.intermediate_size
    positions, types = config.max_position_embeddings, config.type_vocab_size
    found = [
        Entry(("bert", "embeddings", name, "embedding"), (f"embeddings.{name}_embeddings.weight",), (rows, hidden))
        for name, rows in {"word": config.vocab_size, "position": positions, "token_type": types}.items()
    ]
    found += _layer("bert/embeddings/norm", ["embeddings.LayerNorm"], hidden)
    for i in range(config.num_hidden_layers):
        ours, theirs = f"bert/layer_{i}", f"encoder.layer.{i}"
        qkv = [f"{theirs}.attention.self.{name}" for name in ("query", "key", "value")]
        found += _layer(f"{ours}/attention/qkv", qkv, hidden, hidden)
        found += _layer(f"{ours}/attention/output", [f"{theirs}.attention.output.dense"], hidden, hidden)
        found += _layer(f"{ours}/attention_norm", [f"{theirs}.attention.output.LayerNorm"], hidden)
        found += _layer(f"{ours}/feed_forward/intermediate", [f"{theirs}.intermediate.dense"], inner, hidden)
        found += _layer(f"{ours}/feed_forward/output", [f"{theirs}.output.dense"], hidden, inner)
        found += _layer(f"{ours}/feed_forward_norm", [f"{theirs}.output.LayerNorm"], hidden)
    return found + _layer("pooler/dense", ["pooler.dense"], hidden, hidden)


def head_entries(config: BertConfig) -> list[Entry]:
    """Every array of the masked-LM head, with the names of `BertForMaskedLM`; its decoder is the word embeddings."""
    part, head, hidden = MASKED_LM.name, "cls.predictions", config.hidden_size
    found = _layer(f"{part}/dense", [f"{head}.transform.dense"], hidden, hidden)
    found += _layer(f"{part}/norm", [f"{head}.transform.LayerNorm"], hidden)
    return [*found, Entry((part, "bias"), (f"{head}.bias",), (config.vocab_size,))]


def task_entries(config: BertConfig, task: str, outputs: int, texts: int = 1) -> list[Entry]:
    """The arrays of a task's linear head, by names of our own, on the embeddings of one text or two."""
    return _layer(f"{task}/dense", [HEADS + task], outputs, texts * config.hidden_size)


def _layer(path: str, names: list[str], *shape: int) -> list[Entry]:
    """Return the two arrays of a layer: of a linear one, which has outputs and inputs, or of a LayerNorm, of one size.

    Args:
      path: part, then the names inside it, with slashes between them.
    """
    inside, is_linear = path.split("/"), len(shape) == 2
    weights, biases = ([f"{name}.{what}" for name in names] for what in ("weight", "bias"))
    return [
        Entry((*inside, "kernel" if is_linear else "scale"), tuple(weights), shape, transpose=is_linear),
        Entry((*inside, "bias"), tuple(biases), shape[:1]),
    ]


class Stored(NamedTuple):
    """What a file says of a tensor before any of it is read."""

    name: str
    dtype: str  # as safetensors writes it
    shape: tuple[int, ...]


def check_fit(tensors: list[Stored], config: BertConfig, source: str) -> dict[Entry, list[str]]:
    """The entries that the tensors make, and the tensors that make each of them.

    All of the encoder's; the pooler's and a task's head where there is any of it; the masked-LM head's where all of it
    is there.

    Args:
      tensors: named with or without the prefix `bert.`; LayerNorms as weight and bias or as gamma and beta.
      source: what to call them in an error.

    Raises:
      WeightsError: naming missing, unexpected, doubled, mis-shaped and whole-number tensors.
    """
    given = {_plain_name(tensor.name): tensor for tensor in tensors}
    has_pooler = any(name.startswith("pooler.") for name in given)
    found = [entry for entry in entries(config) if has_pooler or entry.path[0] != "pooler"]
    head = head_entries(config)
    found += head if all(name in given for entry in head for name in entry.names) else []
    for name in dict.fromkeys(match[1] for match in map(HEAD.fullmatch, given) if match):
        found += _given_head(config, name, given)
    wanted = {name: entry.shape for entry in found for name in entry.names}
    there = {name: given[name] for name in wanted if name in given}
    misshaped = [(name, tensor) for name, tensor in there.items() if tensor.shape != wanted[name]]
    problems = {
        "missing": [name for name in wanted if name not in given],
        "unexpected": [_printable(name) for name in given if name not in wanted and not OTHER_TENSORS.match(name)],
        "there under two names": [_printable(t.name) for t in tensors if given[_plain_name(t.name)] is not t],
        "mis-shaped": [f"{name} is {list(t.shape)}, not {list(wanted[name])}" for name, t in misshaped],
        "not floats": [f"{name} is {t.dtype}" for name, t in there.items() if t.dtype not in FLOATS],
    }
    said = [f"{what}: {_some(names)}" for what, names in problems.items() if names]
    if said:
        raise WeightsError(f"{source} does not fit its config.json; " + "; ".join(said))
    return {entry: [given[name].name for name in entry.names] for entry in found}


def _given_head(config: BertConfig, name: str, given: dict[str, Stored]) -> list[Entry]:
    """A head as it has to be: of a task of one's own, which only its file knows, as the tensors say."""
    task, kernel, bias = TASKS.get(name), given.get(f"{HEADS}{name}.weight"), given.get(f"{HEADS}{name}.bias")
    outputs = task.num_outputs if task else next(t.shape[0] if t.shape else 1 for t in (kernel, bias) if t)
    may_be_two = task is None or task.is_pair
    reads_two = may_be_two and kernel is not None and kernel.shape[1:] == (2 * config.hidden_size,)
    return task_entries(config, name, outputs, texts=2 if reads_two else 1)


def from_hugging_face(read: Callable[[str], np.ndarray], found: dict[Entry, list[str]], source: str) -> dict:
    """Parts "bert" and, if they are among what was found, "pooler", "mlm" and those of tasks, float32.

    Args:
      read: from a tensor's name to its values.
      found: as `check_fit` returns it.

    Raises:
      WeightsError: a value is not finite.
    """
    params: dict = {}  # not by Flax's `unflatten_dict`: weights are read before JAX is imported
    for entry, names in found.items():
        with np.errstate(over="ignore"):  # float64 may not fit; then it is not finite
            parts = [read(name).astype(np.float32) for name in names]
        for name, part in zip(names, parts, strict=True):
            if not np.isfinite(part).all():
                raise WeightsError(f"{source}: {name} holds a value that is not finite")
        array = np.concatenate([part.T if entry.transpose else part for part in parts], axis=-1)
        tree = params
        for name in entry.path[:-1]:
            tree = tree.setdefault(name, {})
        tree[entry.path[-1]] = np.ascontiguousarray(array)
    return params


def to_hugging_face(params: dict, config: BertConfig, classifier: Task | None = None) -> dict[str, np.ndarray]:
    """The tensors of Hugging Face's `BertModel`, and heads by names of our own; the inverse of `from_hugging_face`.

    With a masked-LM head they are those that BERT was published with: the encoder's, the pooler's and the head's.

    Args:
      classifier: the task whose head is there as that of `BertForSequenceClassification` as well.
    """
    from flax.traverse_util import flatten_dict

    arrays, tensors = flatten_dict(params), {}
    prefix = "bert." if MASKED_LM.name in params or classifier else ""  # beside a head, the encoder has a name
    heads = [entry for part in params if part not in PARTS for entry in task_entries(config, part, outputs=1)]
    for entry in (*entries(config), *head_entries(config), *heads):
        if entry.path[0] not in params:
            continue
        pieces = np.split(np.asarray(arrays[entry.path]), len(entry.names), axis=-1)
        for name, piece in zip(entry.names, pieces, strict=True):
            # safetensors writes a transposed view's memory as it lies, so the layout must be made real
            whole_name = name if name.startswith(("cls.", HEADS)) else prefix + name
            tensors[whole_name] = np.ascontiguousarray(piece.T if entry.transpose else piece)
    if classifier:
        tensors |= {f"classifier.{what}": tensors[f"{HEADS}{classifier.name}.{what}"] for what in ("weight", "bias")}
    return tensors


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _printable(name: str) -> str:
    return name if re.fullmatch(r"[\w.-]{1,100}", name) else quote(name)


def _plain_name(name: str) -> str:
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
