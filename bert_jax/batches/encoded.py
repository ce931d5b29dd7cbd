"""Examples as token ids: what a tokenizer gives and what is packed."""

import dataclasses

import numpy as np
from jaxtyping import Float32, Int, Int32


@dataclasses.dataclass(frozen=True)
class EncodedExamples:
    """All examples of a split as token ids, ready to be packed. A pair that is encoded jointly is one text.

    tokens, token_types: of all texts, one after the other.
    offsets: where each text begins, and where the last one ends; examples * texts + 1.
    labels: 0 where there is no label; of a kind with several numbers a label, a row each.
    ids: the examples' ids, as in the table.
    texts: texts an example, 1 or 2.
    truncated: number of texts that were longer than the limit.
    """

    tokens: Int32[np.ndarray, " tokens"]
    token_types: Int32[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " bounds"]
    labels: Float32[np.ndarray, "examples ..."]
    ids: list[str]
    texts: int
    truncated: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> Int[np.ndarray, "examples texts"]:
        """Tokens of each text."""
        return np.diff(self.offsets).reshape(-1, self.texts)
