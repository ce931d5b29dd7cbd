"""Makes the embedded sample: `python -m tests.references.make_sample`. The same bytes every time.

Tasks of generated sentences whose labels follow from the words: reviews with five grades of opinion, long reviews that
are for or against a film, pairs of questions that ask for the same thing or not, and pairs of scenes that share their
person, deed and place or not. Each idea has several wordings, so a model has to learn which words mean the same.
"""

import csv
import hashlib
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bert_jax.batches.tokenizer import SPECIAL_TOKENS
from bert_jax.data.sample import SAMPLE

SPLIT_SIZES = {"train": 960, "dev": 240, "test-student": 120}
LONG_SPLIT_SIZES = {"train": 240, "dev": 120, "test-student": 120}

OPINIONS = {
    4: ["superb", "dazzling", "unforgettable", "magnificent", "a triumph", "a masterpiece"],
    3: ["charming", "pleasant", "enjoyable", "clever", "warm", "good fun"],
    2: ["ordinary", "average", "familiar", "so so", "nothing special", "neither good nor bad"],
    1: ["clumsy", "dull", "tired", "thin", "forgettable", "a bit of a bore"],
    0: ["dreadful", "unbearable", "insulting", "atrocious", "a disaster", "an utter waste"],
}
ASPECTS = ["film", "story", "script", "cast", "ending", "music", "dialogue", "camera work", "first half", "direction"]
REVIEWS = [
    "The {aspect} is {opinion} .",
    "For me the {aspect} was {opinion} , and so is the rest .",
    "I found the {aspect} {opinion} from start to finish .",
    "A picture whose {aspect} can only be called {opinion} .",
    "{Opinion} : that is the word for the {aspect} .",
]

# Things that people want, each in several wordings, and the thing by name.
WISHES = {
    "a guitar": ["learn the guitar", "become a guitar player", "teach myself guitar", "practise guitar at home"],
    "money": ["save money", "spend less", "put some cash aside", "cut my monthly bills"],
    "sleep": ["sleep better", "fall asleep faster", "get a good night of rest", "stop waking up at night"],
    "a job": ["find a new job", "get hired", "change my career", "look for work"],
    "a garden": ["grow tomatoes", "plant a garden", "raise my own vegetables", "keep herbs alive"],
    "weight": ["lose weight", "get slim", "burn some fat", "shed a few pounds"],
}
ASK_HOW = [
    "How do I {wish} ?",
    "What is the best way to {wish} ?",
    "How can I {wish} this year ?",
    "What are good tips to {wish} ?",
    "Which steps help me to {wish} ?",
]
ASK_OTHER = [
    "Who was the first to write about {thing} ?",
    "Why is {thing} so important in history ?",
    "Does {thing} mean the same in every country ?",
    "What did people once believe about {thing} ?",
    "Is there a famous novel or song about {thing} ?",
    "When did people begin to care about {thing} ?",
    "Why do philosophers disagree about {thing} ?",
    "Which museum shows a collection about {thing} ?",
    "Who said that {thing} is the root of all trouble ?",
]

PEOPLE = ["a man", "a woman", "a child", "an old lady", "a boy", "a neighbour", "a tall girl", "a worker"]
DEEDS = [
    ["is running", "is jogging", "is out for a run"],
    ["is eating", "is having a meal", "is enjoying dinner"],
    ["is sleeping", "is taking a nap", "is fast asleep"],
    ["is singing", "is humming a tune", "is singing a song"],
]
PLACES = [
    ["in the park", "on the grass", "under the trees"],
    ["in the kitchen", "at the stove", "by the oven"],
    ["on the beach", "by the sea", "near the waves"],
]
DETAILS = ["with a smile", "without any hurry", "while it rains", "for the first time", "as music plays"]
NEWS = [
    "{Shares} of the {firm} {fell} on {day} .",
    "The {firm} said on {day} that its {Shares} {fell} .",
    "After the vote on {day} the {firm} closed and {Shares} {fell} .",
]
NEWS_WORDS = {
    "Shares": ["shares", "profits", "exports", "prices"],
    "firm": ["bank", "airline", "steel company", "ministry", "oil firm"],
    "fell": ["fell", "rose", "went up again", "dropped by a tenth"],
    "day": ["Monday", "Tuesday", "Friday"],
}

Row = tuple[list[str], str]  # texts and label


def review(rng: random.Random) -> Row:
    """A sentence about a film and its grade from 0 to 4; a tenth of the grades is one off, as people's grades are."""
    grade = rng.choice(list(OPINIONS))
    given = min(max(grade + rng.choice([-1, 1]), 0), 4) if rng.random() < 0.1 else grade
    return [judgement(rng, grade)], str(given)


def judgement(rng: random.Random, grade: int) -> str:
    """A sentence about a film that gives it a grade."""
    opinion = rng.choice(OPINIONS[grade])
    return rng.choice(REVIEWS).format(aspect=rng.choice(ASPECTS), opinion=opinion, Opinion=opinion.capitalize())


def long_review(rng: random.Random) -> Row:
    """Six to sixteen sentences about a film, and whether they are for it (1) or against it (0).

    Of ten sentences about seven take that side, two none and one the other; a few begin a paragraph, as the course's
    reviews mark it.
    """
    label = int(rng.random() < 0.5)
    sides = {0: [0, 1], 1: [3, 4]}
    text = ""
    for number in range(rng.randint(6, 16)):
        grades = rng.choices([sides[label], [2], sides[1 - label]], weights=[7, 2, 1])[0]
        between = rng.choices([" ", " <br /><br /> "], weights=[5, 1])[0] if number else ""
        text += between + judgement(rng, rng.choice(grades))
    return [text], str(label)


def questions(rng: random.Random) -> Row:
    """Two questions, and whether both ask for the same thing; half do.

    Of those that don't, most ask something else about the thing; some ask how to get another thing, which is harder.
    """
    thing, other = rng.sample(list(WISHES), 2)
    first, second = rng.sample(WISHES[thing], 2)
    same = rng.random() < 0.5
    if same:
        answer = rng.choice(ASK_HOW).format(wish=second)
    elif rng.random() < 0.1:
        answer = rng.choice(ASK_HOW).format(wish=rng.choice(WISHES[other]))
    else:
        answer = rng.choice(ASK_OTHER).format(thing=thing)
    return [rng.choice(ASK_HOW).format(wish=first), answer], "1.0" if same else "0.0"


def scenes(rng: random.Random) -> Row:
    """A scene, and another sentence that is like it from 0 to 5.

    5 the same in other words, 4 with a detail more, 3 of another person, 2 denied, 1 of that place only, 0 from the
    business news. A fifth of the scores is half a point lower, as people's scores differ.
    """
    person, other = rng.sample(PEOPLE, 2)
    deed, place = rng.choice(DEEDS), rng.choice(PLACES)
    did, does = rng.sample(deed, 2)
    where, there = rng.sample(place, 2)
    second, score = rng.choice(
        [
            (f"{person} {does} {there} .", 5),
            (f"{person} {does} {there} {rng.choice(DETAILS)} .", 4),
            (f"another person , {other} , {does} {there} .", 3),
            (f"nobody {does} {there} .", 2),
            (f"it is empty and quiet {there} today .", 1),
            (rng.choice(NEWS).format(**{name: rng.choice(words) for name, words in NEWS_WORDS.items()}), 0),
        ]
    )
    lower = 0.5 if score and rng.random() < 0.2 else 0.0
    texts = [f"{person} {did} {where} .", second]
    return [text[0].upper() + text[1:] for text in texts], f"{score - lower:.1f}"


# Of each task: what makes a row, its columns, the rows of each split.
TABLES: dict[str, tuple[Callable[[random.Random], Row], list[str], dict[str, int]]] = {
    "ids-sst": (review, ["sentence", "sentiment"], SPLIT_SIZES),
    "ids-cfimdb": (long_review, ["sentence", "sentiment"], LONG_SPLIT_SIZES),
    "quora": (questions, ["sentence1", "sentence2", "is_duplicate"], SPLIT_SIZES),
    "sts": (scenes, ["sentence1", "sentence2", "similarity"], SPLIT_SIZES),
}


def write_tables(folder: Path) -> list[str]:
    """Writes the three tables of each task, no text or pair in two of them.

    Returns the train texts that the vocabulary is made of: not the long reviews, whose sentences are as the short ones.
    """
    corpus = []
    for stem, (make_row, columns, sizes) in TABLES.items():
        rng = random.Random(stem)
        seen: set[tuple[str, ...]] = set()
        for split, size in sizes.items():
            labelled = split != "test-student"
            with (folder / f"{stem}-{split}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, delimiter="\t", lineterminator="\n")
                writer.writerow(["", "id", *(columns if labelled else columns[:-1])])
                for number in range(size):
                    texts, label = make_row(rng)
                    while tuple(texts) in seen:
                        others, other_label = make_row(rng)
                        texts = others if other_label == label else texts  # labels stay as balanced as drawn
                    seen.add(tuple(texts))
                    identity = hashlib.sha256("\t".join([stem, split, *texts]).encode()).hexdigest()[:25]
                    writer.writerow([number, identity, *texts, *([label] if labelled else [])])
                    corpus += texts if split == "train" and make_row is not long_review else []
    return corpus


def write_vocabulary(folder: Path, corpus: list[str]) -> None:
    """Trains a small WordPiece vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The trainer numbers what it meets in a text in no fixed order, and numbers break ties: name every character first.
    characters = sorted({chr(code).lower() for code in range(33, 127)})
    known = [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)]
    trainer = trainers.WordPieceTrainer(vocab_size=768, special_tokens=known, show_progress=False)
    pieces.train_from_iterator(corpus, trainer)
    tokens = sorted(pieces.get_vocab(), key=pieces.get_vocab().__getitem__)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")


if __name__ == "__main__":
    texts = write_tables(SAMPLE)
    write_vocabulary(SAMPLE, texts)
    words = Counter(word for text in texts for word in text.split())
    rows = ", ".join(f"{stem} {sum(sizes.values())}" for stem, (_, _, sizes) in TABLES.items())
    print(f"rows: {rows}; {len(words)} words in the {len(texts)} texts of the vocabulary; in {SAMPLE}")
