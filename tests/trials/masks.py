"""T20: masking on a million tokens, and that no text of a dev or test table is ever read for it."""

import csv
import functools
import hashlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.batches import corpus
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Table, find_file, read_table
from bert_jax.tasks import COURSE_TASKS, TASKS, Split, Task
from tests.course import find_course
from tests.trials import harness
from tests.trials.harness import Outcome, Trial

SEED, EPOCHS = 11711, 3
PAD, UNK, CLS, SEP, MASK = SPECIAL = range(5)
WORDS = 1000  # ids, the special ones among them
TEXTS, LONGEST, BATCH = 20_000, 120, 32
PLANTED = 100  # held-out texts in each train table


def run(quick: bool, folder: Path) -> Outcome:
    """Masks random texts in several epochs; makes a corpus of planted overlaps and one of the course's tables."""
    outcome = Outcome()
    encoded = random_texts()
    masked = [mask(encoded, epoch) for epoch in range(EPOCHS)]
    outcome.require("ordinary tokens", 1_000_000)
    outcome.require("special tokens within texts", 10_000)
    for epoch in range(EPOCHS):
        try_shares(encoded, masked[epoch], f"epoch {epoch}", outcome)
    try_epochs(masked, outcome)
    try_again(encoded, masked, 100 if quick else TEXTS // BATCH, outcome)
    outcome.exposure["held-out texts planted in another spelling"] = plant(folder)
    outcome.require("held-out texts planted in another spelling", 200)
    try_corpus(folder, "planted", outcome)
    course = find_course()
    if course:
        try_corpus(course, "course", outcome)
    return outcome


def random_texts() -> Any:
    """Framed texts of random tokens; a fiftieth of these is special, and some texts end in padding."""
    from tests.builders import encode_ids

    rng = np.random.default_rng(SEED)
    texts = []
    for length in rng.integers(0, LONGEST + 1, TEXTS).tolist():
        words = rng.integers(len(SPECIAL), WORDS, length)
        places = rng.random(length) < 0.02
        words[places] = rng.choice(SPECIAL, places.sum())
        texts.append([CLS, *words.tolist(), SEP, *[PAD] * (length % 3)])
    return encode_ids(texts)


def mask(encoded: Any, epoch: int, indices: np.ndarray | None = None) -> Any:
    """The masked tokens of the examples at `indices`, of all by default."""
    from bert_jax.batches.masking import mask_tokens

    return mask_tokens(encoded, np.arange(len(encoded)) if indices is None else indices, vocabulary(), SEED, epoch)


@functools.cache
def vocabulary() -> Any:
    from bert_jax.batches.masking import mask_vocabulary

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str, range(len(SPECIAL), WORDS))]
    return mask_vocabulary({name: number for number, name in enumerate(names)})


def try_shares(encoded: Any, masked: Any, when: str, outcome: Outcome) -> None:
    """15 % of the ordinary tokens; of these 80 % [MASK], 10 % another word, 10 % the same; and no special token."""
    ordinary = int((encoded.tokens >= len(SPECIAL)).sum())
    outcome.exposure["ordinary tokens"] += ordinary
    outcome.exposure["special tokens within texts"] += len(encoded.tokens) - ordinary - 2 * len(encoded)
    outcome.n += len(masked.text)
    stays = masked.replacement == masked.original
    shares = {
        "masked": (len(masked.text) / ordinary, 0.15, 0.002),
        "turned into [MASK]": ((masked.replacement == MASK).mean(), 0.8, 0.005),
        "turned into another word": (((masked.replacement != MASK) & ~stays).mean(), 0.1, 0.005),
        "left as they are": (stays.mean(), 0.1, 0.005),
    }
    for what, (share, wanted, tolerance) in shares.items():
        outcome.check(abs(share - wanted) <= tolerance, f"{when}: {share:.4f} {what}, not {wanted} +- {tolerance}")
    places = encoded.offsets[masked.text] + masked.position
    outcome.check((encoded.tokens[places] == masked.original).all(), f"{when}: the tokens masked are not those named")
    special = int((masked.original < len(SPECIAL)).sum())
    outcome.check(special == 0, f"{when}: {special} special tokens are masked")
    put = int(((masked.replacement < len(SPECIAL)) & (masked.replacement != MASK)).sum())
    outcome.check(put == 0, f"{when}: {put} tokens became special ones other than [MASK]")
    outcome.check(len(set(places.tolist())) == len(places), f"{when}: a token is masked twice")


def try_epochs(masked: list[Any], outcome: Outcome) -> None:
    """Of the tokens masked in one epoch, as many are masked in another as of all tokens."""
    places = [set(zip(each.text.tolist(), each.position.tolist(), strict=True)) for each in masked]
    for a in range(EPOCHS):
        for b in range(a):
            again = len(places[a] & places[b]) / len(places[a])
            outcome.check(abs(again - 0.15) <= 0.01, f"epochs {b} and {a}: {again:.3f} of the masks are the same")
            outcome.exposure["pairs of epochs"] += 1


def try_again(encoded: Any, masked: list[Any], batches: int, outcome: Outcome) -> None:
    """The same masks for batches in another order, and in a process that hashes strings otherwise."""
    rng = np.random.default_rng(1)
    for epoch, order in ((epoch, rng.permutation(TEXTS)) for epoch in reversed(range(EPOCHS))):
        first = np.searchsorted(masked[epoch].text, np.arange(TEXTS + 1))
        for start in range(0, batches * BATCH, BATCH):
            indices = order[start : start + BATCH]
            again = mask(encoded, epoch, indices)
            tokens = np.concatenate([np.arange(*first[index : index + 2].tolist()) for index in indices])
            wanted = [field[tokens] for field in masked[epoch][1:]]
            same = np.array_equal(indices[again.text], masked[epoch].text[tokens])
            same = same and all(np.array_equal(a, b) for a, b in zip(again[1:], wanted, strict=True))
            outcome.check(same, f"epoch {epoch}: batch {start // BATCH} of another order is masked otherwise")
            outcome.exposure["texts masked again in another order"] += len(indices)
    other = harness.run(__name__, env=harness.environment(PYTHONHASHSEED="1"))
    if outcome.check(other.code == 0, f"the other process: {other}"):
        same = json.loads(other.out) == [digest(each) for each in masked]
        outcome.check(same, "another process masks otherwise")
        outcome.exposure["epochs masked by another process"] += EPOCHS
    outcome.require("texts masked again in another order", 3 * batches * BATCH)
    outcome.require("epochs masked by another process", EPOCHS)


def digest(masked: Any) -> str:
    return hashlib.sha256(b"".join(field.tobytes() for field in masked)).hexdigest()


def raw_texts(folder: Path, task: Task, split: Split) -> list[str]:
    """All texts of a table, by another reader than the program's."""
    with find_file(folder, task, split).open(encoding="utf-8", newline="") as file:
        return [row[column] for row in csv.DictReader(file, delimiter="\t") for column in task.text_columns]


def plain(text: str) -> str:
    """What makes two texts one, apart from the program's own rule."""
    return " ".join(text.lower().split())


def plant(folder: Path) -> int:
    """Writes the sample's tables, with texts of dev and test tables put into the train tables.

    Returns:
      How many of them are spelled otherwise there.
    """
    rng, planted = random.Random(SEED), 0
    spellings = (str, str.upper, str.title, "  {} ".format, lambda text: text.replace(" ", "  ", 1))
    for task in (TASKS["sst"], TASKS["quora"], TASKS["sts"]):
        held_out: list[str] = []
        for split in ("dev", "test"):
            source = find_file(SAMPLE, task, split)
            (folder / source.name).write_bytes(source.read_bytes())
            held_out += raw_texts(SAMPLE, task, split)
        source = find_file(SAMPLE, task, "train")
        with source.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        for number in range(0, len(rows), len(rows) // PLANTED):
            text = rng.choice(held_out)
            rows[number][rng.choice(task.text_columns)] = spelled = rng.choice(spellings)(text)
            planted += spelled != text
        with (folder / source.name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return planted


def try_corpus(folder: Path, name: str, outcome: Outcome) -> None:
    """All texts of the train tables are in the corpus once, but for those of dev and test tables."""
    tasks = [task for task in COURSE_TASKS.values() if any((folder / file).exists() for file in task.files["train"])]

    def read(*splits: Split) -> list[Table]:
        return [read_table(find_file(folder, task, split), task, labelled=False) for task in tasks for split in splits]

    made = corpus.make_corpus(read("train"), read("dev", "test"))
    kept_out = {plain(text) for task in tasks for split in ("dev", "test") for text in raw_texts(folder, task, split)}
    train = Counter(plain(text) for task in tasks for text in raw_texts(folder, task, "train"))
    found = Counter(plain(text) for example in made.examples for text in example.texts)
    leaked = sorted(set(found) & kept_out)
    outcome.check(not leaked, f"{name}: {len(leaked)} texts of dev or test tables are in the corpus: {leaked[:2]}")
    outcome.check(set(found) == set(train) - kept_out - {""}, f"{name}: not all other texts of train tables are in it")
    outcome.check(max(found.values()) == 1, f"{name}: a text is in the corpus twice")
    overlaps = sum(count for text, count in train.items() if text in kept_out and text)
    outcome.check(made.held_out == overlaps, f"{name}: {made.held_out} texts reported as held out, not {overlaps}")
    outcome.n += len(made.examples)
    outcome.exposure[f"{name}: held-out texts in train tables"] += overlaps
    outcome.require(f"{name}: held-out texts in train tables", 100)


TRIALS = (
    Trial(
        name="T20",
        claim="Masked are 15 +- 0.2 % of the tokens, 80/10/10 +- 0.5 %, never a special one; the masks are new in each "
        "epoch and the same after a resume; no text of a dev or test table is in the corpus",
        run=run,
        sabotages=(
            "special_tokens_are_masked",
            "masks_ignore_the_epoch",
            "masks_follow_the_batch",
            "held_out_texts_compared_as_spelled",
        ),
    ),
)

if __name__ == "__main__":
    texts = random_texts()
    print(json.dumps([digest(mask(texts, epoch)) for epoch in reversed(range(EPOCHS))][::-1]))
