"""The embedded sample is what its script makes, and can be told apart."""

from bert_jax.data.sample import SAMPLE, make
from bert_jax.data.tables import find_file, read_table
from bert_jax.tasks import TASKS


def test_the_script_makes_the_committed_files_byte_for_byte(tmp_path):
    corpus = make.write_tables(tmp_path)
    make.write_vocabulary(tmp_path, corpus)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == sorted(path.name for path in SAMPLE.iterdir() if path.suffix in (".csv", ".txt"))
    for name in made:
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes(), name


def test_no_text_is_in_two_splits_and_labels_are_spread():
    for name in ("sst", "quora", "sts"):
        task, seen = TASKS[name], set()
        for split in ("train", "dev", "test"):
            examples = read_table(find_file(SAMPLE, task, split), task, labelled=split != "test").examples
            texts = {example.texts for example in examples}
            assert not texts & seen and len(texts) == len(examples)
            seen |= texts
            if split != "test":
                labels = [example.label for example in examples]
                assert max(labels.count(label) for label in set(labels)) < 0.6 * len(labels)
