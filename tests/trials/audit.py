"""T22: the audit prints what is known of the course's tables, and finds what is planted in tables made for it."""

import json
from collections import Counter
from pathlib import Path
from random import Random

from bert_jax.tasks import COURSE_TASKS, Split, Task
from eval.overlaps import audit_tables
from tests.course import find_course
from tests.trials import harness
from tests.trials.harness import Outcome, Trial

CLAIM = (
    "The data audit prints the overlaps and label conflicts that are known of the course's tables: rows of dev and of "
    "test that train has, SST 3 and 2, STS 18 and 19; 14 STS train pairs with two labels. In tables with planted ones "
    "it counts each, whatever the spelling and the order of a pair. It does not import JAX."
)
SEEDS = 20
ROWS = 60
KNOWN_SHARED = {("sst", "dev"): 3, ("sst", "test"): 2, ("sts", "dev"): 18, ("sts", "test"): 19}
KNOWN_CONFLICTS = {"sst": 0, "sts": 14}
LABELS = {"classification": ("0", "1"), "paraphrase": ("0.0", "1.0"), "similarity": ("1.0", "1.5")}
SPLITS: tuple[Split, ...] = ("train", "dev", "test")

Row = tuple[list[str], str]  # texts and label


def run(quick: bool, folder: Path) -> Outcome:
    outcome = Outcome()
    course = find_course()
    if course:
        _audit_the_course(outcome, course, folder)
    seeds = 4 if quick else SEEDS
    for seed in range(seeds):
        for task in COURSE_TASKS.values():
            _audit_planted(outcome, folder / f"{task.name}-{seed}", task, seed)
    outcome.require("audited by the command", len(COURSE_TASKS))
    outcome.require("planted in another spelling", seeds)
    outcome.require("planted in another order", seeds)
    outcome.require("planted with another label", seeds)
    ended = harness.run("tests.trials.audit", env=harness.without_jax(folder))
    outcome.exposure["imports of JAX noticed"] = int(harness.JAX_IMPORTED in ended.err)
    outcome.require("imports of JAX noticed", 1)
    return outcome


def _audit(folder: Path, data_dir: Path, *flags: str) -> harness.Ended:
    """The command, in a process in which the import of JAX fails."""
    return harness.run("eval.audit", f"--data_dir={data_dir}", *flags, env=harness.without_jax(folder))


def _audit_the_course(outcome: Outcome, course: Path, folder: Path) -> None:
    """What is known stands in what is printed."""
    ended = _audit(folder, course)
    lines = [line.split() for line in ended.out.splitlines()]
    outcome.check(ended.code == 0 and not ended.err, f"the course's tables: {ended}")
    for (task, split), count in KNOWN_SHARED.items():
        printed = [line[3] for line in lines if line[:3] == [task, split, "train"]]
        outcome.check(printed == [str(count)], f"{task} {split} rows that train has: printed {printed}, not {count}")
    for task, count in KNOWN_CONFLICTS.items():
        printed = [line[1] for line in lines if line[:1] == [task] and len(line) == 3]
        outcome.check(printed == [str(count)], f"{task} with two labels: printed {printed}, not {count}")
    known = len(KNOWN_SHARED) + len(KNOWN_CONFLICTS)
    outcome.n += known
    outcome.exposure["numbers known of the course's tables"] += known


def _audit_planted(outcome: Outcome, folder: Path, task: Task, seed: int) -> None:
    """What is planted in tables without anything else is counted, no more and no less."""
    folder.mkdir()
    expected, planted = plant(folder, task, Random(f"{task.name} {seed}"))
    outcome.n += 1
    if seed:
        found = audit_tables(folder, [task])
    else:
        ended = _audit(folder, folder, f"--tasks={task.name}", "--json")
        if not outcome.check(ended.code == 0 and not ended.err, f"{task.name}, seed {seed}: {ended}"):
            return
        found = json.loads(ended.out)
        outcome.exposure["audited by the command"] += 1
    found = found["tasks"][task.name]
    counts = {
        **{f"{pair['rows_of']} in {pair['in']}": pair["rows"] for pair in found["shared"]},
        "conflicts": found["conflicts"]["distinct"],
        "repeated": found["splits"]["train"]["repeated"]["distinct"],
        "without label": found["splits"]["train"]["without_label"],
    }
    if outcome.check(counts == expected, f"{task.name}, seed {seed}: {counts}, not {expected}"):
        outcome.exposure.update(planted)


def plant(folder: Path, task: Task, rng: Random) -> tuple[dict[str, int], Counter[str]]:
    """Writes three tables of texts that all differ, but for what is planted.

    Returns:
      What the audit has to count, and how often things were planted that a careless count would not see.
    """
    first, second = LABELS[task.kind]
    planted: Counter[str] = Counter()

    def again(row: Row, label: str | None = None) -> Row:
        texts = [_respell(text, rng) for text in row[0]]
        planted["planted in another spelling"] += texts != row[0]
        if task.is_pair and rng.random() < 0.5:
            texts.reverse()
            planted["planted in another order"] += 1
        planted["planted with another label"] += label is not None
        return texts, label or row[1]

    fresh: dict[Split, list[Row]] = {
        split: [([f"{split} {number} {side} film" for side in task.text_columns], first) for number in range(ROWS)]
        for split in SPLITS
    }
    dev, test, other, conflicts, twice, unlabelled = (rng.randint(1, 6) for _ in range(6))
    train = rng.sample(fresh["train"], ROWS)  # what is taken from it is taken once, so that no count meets another
    take = iter(train)
    tables = {
        "train": fresh["train"] + [again(next(take), second) for _ in range(conflicts)],
        "dev": fresh["dev"] + [again(next(take)) for _ in range(dev)],
        "test": fresh["test"] + [again(next(take)) for _ in range(test)],
    }
    tables["train"] += [again(next(take)) for _ in range(twice)]
    tables["test"] += [again(row) for row in rng.sample(fresh["dev"], other)]
    tables["train"] += [([f"unlabelled {number}"] * len(task.text_columns), "") for number in range(unlabelled)]
    for split in SPLITS:
        rng.shuffle(tables[split])
        _write(folder / task.files[split][0], task, tables[split])
    expected = {"dev in train": dev, "test in train": test, "test in dev": other, "conflicts": conflicts}
    return expected | {"repeated": conflicts + twice, "without label": unlabelled}, planted


def _respell(text: str, rng: Random) -> str:
    """The same words."""
    return rng.choice([str.upper, str.title, lambda t: f"{t} .", lambda t: f'" {t} , "', lambda t: t])(text)


def _write(path: Path, task: Task, rows: list[Row]) -> None:
    lines = ["\t".join(["id", *task.text_columns, task.label_column])]
    for number, (texts, label) in enumerate(rows):
        lines.append("\t".join([f"row-{number}", *('"' + text.replace('"', '""') + '"' for text in texts), label]))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


TRIALS = (
    Trial("T22", CLAIM, run, ("audited_as_spelled", "audited_in_order", "conflicts_not_looked_for", "audit_uses_jax")),
)

if __name__ == "__main__":
    import jax  # noqa: F401  so that the trial sees that a process which imports it is caught
