"""What other libraries want in a folder beside the weights: transformers its tokenizer, sentence-transformers modules.

File formats as transformers 5.23 and sentence-transformers 6.2 write them, in the older spelling where they read both.
"""

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import decoders, processors

from bert_jax.batches.tokenizer import SPECIAL_TOKENS, Tokenizer
from bert_jax.config import ModelConfig
from bert_jax.files import write_json, write_tensors

MODULES = "sentence_transformers.models"


def write_tokenizer(folder: Path, tokenizer: Tokenizer, max_length: int, splits_special: bool) -> None:
    """Writes `vocab.txt`, `tokenizer.json` and `tokenizer_config.json`, of which `AutoTokenizer` takes what it knows.

    Args:
      max_length: tokens a text may have.
      splits_special: whether "[SEP]" in a text is text, as in training. In a masked LM "[MASK]" has to be the mask.
    """
    tokenizer.save(folder)
    pieces = tokenizer.word_pieces()
    pieces.add_special_tokens(list(SPECIAL_TOKENS))
    pieces.decoder = decoders.WordPiece(prefix="##")
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.vocab[token]) for token in ("[CLS]", "[SEP]")],
    )
    (folder / "tokenizer.json").write_text(pieces.to_str(pretty=True) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "BertTokenizer",
        **tokenizer.settings,
        "model_max_length": max_length,
        "split_special_tokens": splits_special,
    }
    named = {f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS}
    write_json(folder / "tokenizer_config.json", settings | named)


def write_modules(folder: Path, model: ModelConfig, pooler: dict | None, max_length: int) -> None:
    """Writes the chain of modules that gives a text's embedding: the encoder, the pooling and, with it, BERT's pooler.

    The mean is over all tokens, special ones included, in both libraries. Of the pooler, a linear layer and tanh on
    [CLS], sentence-transformers knows only the hidden state that goes in; so the layer is there again, as a module.

    Args:
      pooler: that part of the parameters, if there is one.
    """
    size = model.bert.hidden_size
    chain = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Dense", "Dense")] if model.pooling == "cls" else [])]
    modules = [{"name": str(i), "path": path, "type": f"{MODULES}.{kind}"} for i, (path, kind) in enumerate(chain)]
    write_json(folder / "modules.json", [{"idx": i, **module} for i, module in enumerate(modules)])
    # The vocabulary's lower-casing is the tokenizer's; this one would be done before it.
    encoder: dict[str, Any] = {"max_seq_length": max_length, "do_lower_case": False}
    if pooler is None:
        encoder["model_args"] = {"add_pooling_layer": False}  # else transformers makes a random one and warns
    write_json(folder / "sentence_bert_config.json", encoder)
    write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})
    modes = {"pooling_mode_cls_token": model.pooling == "cls", "pooling_mode_mean_tokens": model.pooling == "mean"}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": size, **modes})
    if model.pooling == "cls":
        assert pooler is not None
        tanh = "torch.nn.modules.activation.Tanh"
        settings = {"in_features": size, "out_features": size, "bias": True, "activation_function": tanh}
        write_json(folder / "2_Dense" / "config.json", settings)
        kernel, bias = (np.asarray(pooler["dense"][name]) for name in ("kernel", "bias"))
        layer = {"linear.weight": np.ascontiguousarray(kernel.T), "linear.bias": bias}
        write_tensors(folder / "2_Dense" / "model.safetensors", layer, like=folder / "modules.json")
