"""Stanford's own files of SST: what becomes of their sentences, their labels and their phrases."""

import pytest

from bert_jax.data.sst import StanfordConfig
from bert_jax.data.sst import write_tables as main
from bert_jax.data.stanford import THRESHOLDS, label_of, read_stanford
from bert_jax.data.tables import Folder
from bert_jax.errors import InputError
from bert_jax.tasks import TASKS, Split

# The dictionary's spelling of each sentence, its split (1 train, 2 test, 3 dev) and its value.
SENTENCES = [
    ("A film ( clichés and all ) .", 1, 0.9),
    ("Dull .", 3, 0.2),
    ("It 's `` the \" Château || '' .", 2, 0.41),
    ("A film .", 1, 0.81),
]
PHRASES = [("film", 0.5), ("A film", 0.61), ("( clichés and all )", 0.1), ("Dull", 0.3), ("all .", 0.7), ("no", 0.0)]


def write(folder, **changed: str):
    """The four files; phrases are numbered from 0, those of the sentences last."""
    folder.mkdir(exist_ok=True)
    everything = PHRASES + [(text, value) for text, _, value in SENTENCES]
    as_sentence = [
        text.replace("(", "-LRB-").replace(")", "-RRB-").encode().decode("latin-1") for text, *_ in SENTENCES
    ]
    files = {
        "datasetSentences": ["sentence_index\tsentence", *(f"{n}\t{text}" for n, text in enumerate(as_sentence, 1))],
        "datasetSplit": ["sentence_index,splitset_label", *(f"{n},{row[1]}" for n, row in enumerate(SENTENCES, 1))],
        "dictionary": [f"{text}|{number}" for number, (text, _) in enumerate(everything)],
        "sentiment_labels": [
            "phrase ids|sentiment values",
            *(f"{n}|{value}" for n, (_, value) in enumerate(everything)),
        ],
    }
    for name, lines in files.items():
        (folder / f"{name}.txt").write_text(changed.get(name, "\n".join(lines) + "\n"), encoding="utf-8")
    return folder


def texts(rows, split: Split) -> list[tuple[str, float | None]]:
    return [(example.texts[0], example.label) for example in rows[split]]


def test_sentences_have_their_split_their_accents_their_brackets_and_their_label(tmp_path):
    rows = read_stanford(write(tmp_path))
    assert texts(rows, "train") == [("A film -LRB- clichés and all -RRB- .", 4.0), ("A film .", 4.0)]
    assert texts(rows, "dev") == [("Dull .", 0.0)]
    assert texts(rows, "test") == [("It 's `` the \" Château || '' .", 2.0)]
    assert [example.id for example in rows["train"]] == ["sentence-1", "sentence-4"]


def test_a_threshold_belongs_to_the_class_below_it():
    assert [label_of(threshold) for threshold in THRESHOLDS] == [0, 1, 2, 3]
    assert [label_of(threshold + 1e-9) for threshold in THRESHOLDS] == [1, 2, 3, 4]


def test_phrases_of_train_sentences_come_behind_them_and_no_whole_sentence_is_among_them(tmp_path):
    plain, rows = read_stanford(write(tmp_path)), read_stanford(tmp_path, phrases=True)
    assert rows["train"][:2] == plain["train"] and (rows["dev"], rows["test"]) == (plain["dev"], plain["test"])
    assert texts(rows, "train")[2:] == [("-LRB- clichés and all -RRB-", 0.0), ("A film", 3.0), ("film", 2.0)]
    ids = [example.id for example in rows["train"]]
    assert ids[2:] == ["phrase-2", "phrase-1", "phrase-0"] and len(set(ids)) == len(ids)


def test_the_command_writes_tables_that_the_strict_reader_gives_back(tmp_path, capsys):
    flags = StanfordConfig(write(tmp_path / "stanford"), tmp_path / "tables", phrases=True)
    main(flags)
    rows = read_stanford(flags.stanford_dir, phrases=True)
    for split, examples in rows.items():
        assert Folder(flags.data_dir).read(TASKS["sst"], split, labelled=True).examples == examples
    assert "5 rows" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"ids-sst-train\.csv is there already"):
        main(flags)


WRONG = {
    "no label": ("sentiment_labels", "phrase ids|sentiment values\n", "dictionary.txt:1: phrase '0' has no line in"),
    "value": (
        "sentiment_labels",
        "ids|values\n0|much\n",
        "sentiment_labels.txt:2: the sentiment value is 'much', not a",
    ),
    "value out of range": (
        "sentiment_labels",
        "ids|values\n0|1.5\n",
        "sentiment_labels.txt:2: the sentiment value is '1",
    ),
    "split": ("datasetSplit", "index,label\n1,4\n", "datasetSplit.txt:2: the split is '4', not 1"),
    "no split": ("datasetSplit", "index,label\n1,1\n", "datasetSentences.txt:3: sentence '2' has no line in"),
    "no phrase": ("datasetSentences", "i\ts\n1\tunheard of\n", "datasetSentences.txt:2: the sentence is not in"),
    "one column": ("dictionary", "film\n", "dictionary.txt:1: the line has no '|'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_sentence_with_its_line(tmp_path, name):
    file, content, message = WRONG[name]
    with pytest.raises(InputError) as caught:
        read_stanford(write(tmp_path, **{file: content}))
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


def test_a_missing_file_is_named(tmp_path):
    (write(tmp_path) / "dictionary.txt").unlink()
    with pytest.raises(InputError, match=r"dictionary\.txt:1: cannot be read: No such file"):
        read_stanford(tmp_path)
