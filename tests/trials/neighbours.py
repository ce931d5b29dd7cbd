"""T19: what a model says of a sentence does not depend on the texts that share its row, nor on padding."""

import dataclasses
import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from tests.trials.harness import Outcome, Trial

TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
EXAMPLES, CHOSEN = 48, 12  # of a table, and of them in a batch
LONGEST = 20  # tokens of a text
ALONE = 64  # tokens of a row with one text


@dataclasses.dataclass(frozen=True)
class Case:
    """A task's head on a model; `settings` as in ModelConfig."""

    task: str
    settings: tuple[tuple[str, str], ...]

    @property
    def dtype(self) -> str:
        return dict(self.settings)["dtype"]


def cases(quick: bool) -> list[Case]:
    """Each kind of task with each pooling in each precision, and the other head and pair encoding.

    If quick, half of the former, so that every two of the three meet.
    """
    found = []
    for place in itertools.product(range(3), range(2), range(2)):
        task = ("sst", "quora", "sts")[place[0]]
        settings = (("pooling", ("cls", "mean")[place[1]]), ("dtype", list(TOLERANCE)[place[2]]))
        if not quick or sum(place) % 2 == 0:
            found.append(Case(task, settings))
        other = {"quora": ("pair_encoding", "joint"), "sts": ("similarity_head", "cosine")}.get(task)
        if not quick and other:
            found.append(Case(task, (*settings, other)))
    return found


def count_neighbours(batch: Any, exposure: Any) -> None:
    """Counts the texts of a batch that lie where a fault would show."""
    for row in np.asarray(batch.segment_ids):
        texts = len(set(row.tolist()) - {0})
        exposure["texts that shared a row"] += texts if texts > 1 else 0
        exposure["texts that do not begin their row"] += max(texts - 1, 0)
        exposure["texts in a row with padding"] += texts if (row == 0).any() else 0


def run(quick: bool, folder: Path) -> Outcome:
    """Compares the logits of examples alone with those of the same examples in many random batches."""
    outcome = Outcome()
    for what in ("texts that shared a row", "texts that do not begin their row", "texts in a row with padding"):
        outcome.require(what, 300)
    for number, case in enumerate(cases(quick)):
        try_case(case, outcome, seed=number, batches=20, lengths=[ALONE] if quick else [40, 64, 96])
    for dtype in TOLERANCE:
        outcome.require(f"comparisons in {dtype}", 300)
    return outcome


def try_case(case: Case, outcome: Outcome, seed: int, batches: int, lengths: list[int]) -> None:
    """Random batches of random examples, in rows of each length, against each example with no text beside it."""
    import jax

    from bert_jax.batches.packing import BatchShape, PackedBatch, pack
    from bert_jax.heads import predict_logits
    from bert_jax.tasks import TASKS
    from tests.builders import lively_params, padded, random_examples, tiny_model

    task, rng, tolerance = TASKS[case.task], np.random.default_rng(seed), TOLERANCE[case.dtype]
    model = tiny_model(**dict(case.settings))
    encoded = random_examples(task, EXAMPLES, seed, LONGEST)
    encoded = joined(encoded) if model.pair_encoding == "joint" else encoded
    params = lively_params(model, [task], seed)
    compiled = jax.jit(functools.partial(predict_logits, model, task))

    def predict(batch: PackedBatch) -> np.ndarray:
        return np.asarray(compiled(params, batch), np.float32)

    parts = np.split(np.arange(EXAMPLES), EXAMPLES // CHOSEN)
    alone = np.concatenate([predict(padded(encoded, part.tolist(), ALONE)) for part in parts])
    spread = float(alone.std(axis=0).mean())
    outcome.check(spread > 5 * tolerance, f"{case}: logits are {spread:.3f} apart; they would hide a difference")
    for length, _ in itertools.product(lengths, range(batches)):
        chosen = rng.choice(EXAMPLES, rng.integers(1, CHOSEN + 1), replace=False)
        batch = pack(encoded, chosen, BatchShape(CHOSEN * encoded.texts, length), CHOSEN)
        worst = float(np.abs(predict(batch)[: len(chosen)] - alone[chosen]).max())
        if outcome.check(worst <= tolerance, f"{case}, rows of {length}: logits differ by {worst:.1e}"):
            largest = f"largest difference in {case.dtype}, 1e-9"
            outcome.exposure[largest] = max(outcome.exposure[largest], round(worst * 1e9))
        outcome.n += len(chosen)
        count_neighbours(batch, outcome.exposure)
        outcome.exposure[f"comparisons in {case.dtype}"] += len(chosen)


def joined(encoded: Any) -> Any:
    """Pairs of texts as one text each: the second with segment type 1."""
    second = np.repeat(np.arange(len(encoded.offsets) - 1) % 2, np.diff(encoded.offsets))
    return dataclasses.replace(encoded, token_types=second.astype(np.int32), offsets=encoded.offsets[::2], texts=1)


TRIALS = (
    Trial(
        name="T19",
        claim="A sentence's logits do not depend on its neighbours or on padding (1e-5 in fp32, 2e-2 in bf16)",
        run=run,
        sabotages=("attention_crosses_texts", "positions_run_on_along_the_row"),
    ),
)
