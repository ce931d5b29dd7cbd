"""Arithmetic that the work needs, whoever does it and however: padding counts nothing."""

import numpy as np

from bert_jax.config import BertConfig


def encoder_flops(bert: BertConfig, lengths: np.ndarray, training: bool) -> float:
    """Floating-point operations of the encoder's matrix products on texts of these lengths.

    The usual formula (Kaplan et al., 2020, 2.1; Chowdhery et al., 2022, appendix B): 2 x parameters of the linear
    layers x tokens, and 4 x layers x hidden x length^2 a text for attention's two products; three times that with the
    gradient, which has two products for each. Embeddings, the pooler and a task's head are left out.

    Args:
      lengths: tokens of each text, [CLS] and [SEP] included.
    """
    hidden, inner = bert.hidden_size, bert.intermediate_size
    linear = bert.num_hidden_layers * (4 * hidden * hidden + 2 * hidden * inner)
    tokens, squares = float(np.sum(lengths)), float(np.sum(np.square(lengths, dtype=np.float64)))
    return (3 if training else 1) * (2 * linear * tokens + 4 * bert.num_hidden_layers * hidden * squares)


def masked_lm_flops(bert: BertConfig, masked: int) -> float:
    """Those of the masked-LM head and its gradient on so many masked tokens."""
    return 6.0 * masked * bert.hidden_size * (bert.hidden_size + bert.vocab_size)
