"""Examples as token ids: what a tokenizer gives and what is packed."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class EncodedExamples:
    """All examples of a split as token ids, ready to be packed. A pair that is encoded jointly is one text.

    tokens, token_types: [tokens], all texts one after the other.
    offsets: [examples * texts + 1], where each text begins.
    labels: [examples] float32; 0 where there is no label.
    ids: the examples' ids, as in the table.
    texts: texts an example, 1 or 2.
    truncated: number of texts that were longer than the limit.
    """

    tokens: np.ndarray
    token_types: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    ids: list[str]
    texts: int
    truncated: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text: [examples, texts]."""
        return np.diff(self.offsets).reshape(-1, self.texts)
