"""BERT for several sentence tasks at once, in JAX: what the model is. How it is fitted stands in `train`."""

__version__ = "0.1.0"
