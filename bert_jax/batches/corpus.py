"""The texts that masked-LM pretraining reads: those of the train tables, and none that a score is computed on."""

import dataclasses
from collections.abc import Iterator, Sequence

from bert_jax.data.tables import Example, Table


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Texts without labels, one an example, in the order of their tables; and how many were left out.

    duplicates: texts that came before.
    held_out: texts that also stand in a table that is not trained on.
    empty: texts without a character.
    hashes: SHA-256 of the tables that decided what it is, those held out among them, by name.
    """

    examples: list[Example]
    duplicates: int
    held_out: int
    empty: int
    hashes: dict[str, str]

    @property
    def skipped(self) -> int:
        return self.duplicates + self.held_out + self.empty

    @property
    def left_out(self) -> str:
        """What was skipped, in words."""
        said = {"duplicates": self.duplicates, "in dev or test tables": self.held_out, "empty": self.empty}
        return ", ".join(f"{count:,} {what}" for what, count in said.items() if count) or "nothing"


def make_corpus(train: Sequence[Table], held_out: Sequence[Table]) -> Corpus:
    """Every text of the `train` tables once, but for those in the `held_out` ones; each text of a pair is a text.

    Texts are the same if they differ in white space and case alone. An example's id is `file:id of the row:1 or 2`.

    Args:
      held_out: dev and test tables, of all tasks. Read them with `labelled=False`: otherwise a row that lacks its
        label is skipped, and its texts are not held out.
    """
    kept_out = {normalize(text) for _, text in _texts(held_out)}
    seen: set[str] = set()
    examples: list[Example] = []
    dropped = {"empty": 0, "held_out": 0, "duplicates": 0}
    for name, text in _texts(train):
        same = normalize(text)
        reason = "empty" if not same else "held_out" if same in kept_out else "duplicates" if same in seen else None
        if reason:
            dropped[reason] += 1
        else:
            seen.add(same)
            examples.append(Example(name, (text,), None))
    hashes = {name: sha256 for table in (*train, *held_out) for name, sha256 in table.hashes.items()}
    return Corpus(examples, **dropped, hashes=hashes)


def normalize(text: str) -> str:
    """What two texts are compared by.

    >>> normalize("  The FILM ") == normalize("the film")
    True
    """
    return " ".join(text.casefold().split())


def _texts(tables: Sequence[Table]) -> Iterator[tuple[str, str]]:
    """Every text of the tables, with a name."""
    for table in tables:
        for example in table.examples:
            for number, text in enumerate(example.texts, start=1):
                yield f"{table.name or table.path.name}:{example.id}:{number}", text
