"""What a model is: the encoder's dimensions, and how sentences are read off it."""

import dataclasses
from typing import Literal

from bert_jax.errors import InputError, WeightsError, quote

Pooling = Literal["cls", "mean"]
PairEncoding = Literal["separate", "joint"]
SimilarityHead = Literal["linear", "cosine"]
Dtype = Literal["float32", "bfloat16"]

MOST_LAYERS = 128
LEAST_POSITIONS = 8  # special tokens, and a few of each text of a pair
LARGEST_SIZE = 10_000_000


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Dimensions of a BERT encoder (Devlin et al., 2019). Field names are those of Hugging Face's `config.json`."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, whole = getattr(self, field.name), isinstance(field.default, int)
            said = f"{field.name} is {quote(value)}"
            smallest = LEAST_POSITIONS if field.name == "max_position_embeddings" else 1
            largest = MOST_LAYERS if field.name == "num_hidden_layers" else LARGEST_SIZE
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise WeightsError(f"{said}, not a {'whole ' if whole else ''}number")
            if whole and not smallest <= value <= largest:
                raise WeightsError(f"{said}, outside {smallest} to {largest:,}")
            if not whole and not 0 <= value < 1:
                raise WeightsError(f"{said}, outside 0 to 1")
        size, heads = self.hidden_size, self.num_attention_heads
        if size % heads:
            raise WeightsError(f"hidden_size {size} is not a multiple of num_attention_heads {heads}")

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_attention_heads


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A BERT encoder and how a sentence, or a pair of them, is read off it."""

    bert: BertConfig
    pooling: Pooling = "cls"
    pair_encoding: PairEncoding = "separate"
    similarity_head: SimilarityHead = "linear"
    cosine_floor: float = -1.0  # the cosine that means similarity 0; 1 always means the largest
    head_dropout: float = 0.3
    dtype: Dtype = "float32"  # of the matrix products; parameters, softmax, LayerNorm and losses stay float32

    def __post_init__(self):
        if self.pair_encoding == "joint" and self.bert.type_vocab_size < 2:
            raise InputError("--pair_encoding=joint needs two segment types, but the model's type_vocab_size is 1")
        if self.similarity_head == "cosine" and self.pair_encoding == "joint":
            raise InputError("--similarity_head=cosine compares two embeddings, so it needs --pair_encoding=separate")


def _size(layers: int, size: int, heads: int) -> BertConfig:
    return BertConfig(hidden_size=size, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * size)


# Turc et al. (2019) for tiny to medium, Devlin et al. (2019) for base and large, Wang et al. (2020) for MiniLM.
SIZES = {
    "bert-tiny": _size(2, 128, 2),
    "bert-mini": _size(4, 256, 4),
    "bert-small": _size(4, 512, 8),
    "bert-medium": _size(8, 512, 8),
    "bert-base": _size(12, 768, 12),
    "bert-large": _size(24, 1024, 16),
    "minilm-l6": _size(6, 384, 12),
}
