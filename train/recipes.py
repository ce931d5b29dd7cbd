"""Named experiments: lists of stages, each of which is a run like any other that starts from the one before."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Mode = Literal["finetune", "pretrain", "mlm"]
EPOCHS = 10  # of all stages but masked LM, with weights that are trained already: those of the course's starter


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The modes of an experiment's stages, in their order, and its settings where they differ from the defaults."""

    about: str
    modes: tuple[Mode, ...]
    settings: Mapping[str, Any]


HEADS_THEN_ALL: tuple[Mode, ...] = ("pretrain", "finetune")  # 1e-3 with the encoder frozen, then 1e-5
WITH_MLM: tuple[Mode, ...] = ("mlm", *HEADS_THEN_ALL)

# The values of the paper: batches of 32 examples, of single tasks 64 (SST) and 8 (CFIMDB).
RECIPES: dict[str, Recipe] = {
    "baseline": Recipe("the first task alone; the others are only scored", HEADS_THEN_ALL, {"scheduler": "baseline"}),
    "in_turn": Recipe("an epoch is all of one task, then all of the next", HEADS_THEN_ALL, {"scheduler": "in_turn"}),
    "mtdnn": Recipe("a round is a batch of each task; small ones repeat", HEADS_THEN_ALL, {"scheduler": "mtdnn"}),
    "in_turn_mlm": Recipe("masked LM on the tasks' texts, then in_turn", WITH_MLM, {"scheduler": "in_turn"}),
    "in_turn_mlm_cosine": Recipe(
        "the same; similarity is a cosine", WITH_MLM, {"scheduler": "in_turn", "similarity_head": "cosine"}
    ),
    "sst_single": Recipe("SST alone", HEADS_THEN_ALL, {"tasks": "sst", "batch_size": 64}),
    "cfimdb_single": Recipe("CFIMDB alone", HEADS_THEN_ALL, {"tasks": "cfimdb", "batch_size": 8}),
}
