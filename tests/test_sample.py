"""The embedded sample is what its script makes, and can be told apart."""

from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import find_file, read_table
from bert_jax.tasks import COURSE_TASKS, TASKS, Split
from tests.references import make_sample as make

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


def test_the_script_makes_the_committed_files_byte_for_byte(tmp_path):
    corpus = make.write_tables(tmp_path)
    make.write_vocabulary(tmp_path, corpus)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == sorted(path.name for path in SAMPLE.iterdir() if path.suffix in (".csv", ".txt"))
    for name in made:
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes(), name


def test_no_text_is_in_two_splits_and_labels_are_spread():
    for task in COURSE_TASKS.values():
        seen = set()
        for split in SPLITS:
            examples = read_table(find_file(SAMPLE, task, split), task, labelled=split != "test").examples
            texts = {example.texts for example in examples}
            assert not texts & seen and len(texts) == len(examples)
            seen |= texts
            if split != "test":
                labels = [example.label for example in examples]
                assert max(labels.count(label) for label in set(labels)) < 0.6 * len(labels)


def test_each_task_has_its_number_of_rows():
    sizes = {"sst": (960, 240, 120), "cfimdb": (240, 120, 120), "quora": (960, 240, 120), "sts": (960, 240, 120)}
    assert sizes.keys() == COURSE_TASKS.keys()
    for name, wanted in sizes.items():
        tables = [read_table(find_file(SAMPLE, TASKS[name], split), TASKS[name], False) for split in SPLITS]
        assert tuple(len(table.examples) for table in tables) == wanted


def test_long_reviews_have_several_sentences_mostly_of_one_side():
    task, right = TASKS["cfimdb"], 0
    grades = {word: grade for grade, words in make.OPINIONS.items() for word in words}
    examples = read_table(find_file(SAMPLE, task, "train"), task, labelled=True).examples
    for example in examples:
        text = example.texts[0].lower()
        sentences = [part for part in text.replace("<br />", "").split(" . ") if part.strip(" .")]
        assert 6 <= len(sentences) <= 16
        found = [[grade for word, grade in grades.items() if f" {word} " in f" {sentence} "] for sentence in sentences]
        against, favour = (sum(grade[0] in side for grade in found) for side in ((0, 1), (3, 4)))
        right += (favour > against) == (example.label == 1)
    assert right > 0.95 * len(examples)
    assert sum("<br /><br />" in example.texts[0] for example in examples) > 0.5 * len(examples)


def test_the_long_reviews_are_no_part_of_what_the_vocabulary_is_made_of(tmp_path):
    assert not any("<br />" in text for text in make.write_tables(tmp_path))
