"""Public sets of TensorFlow Datasets: what TFDS's own builders make of files like those that they download."""

import tarfile
import zipfile

import pytest

from bert_jax.data.tfds import Datasets
from bert_jax.errors import InputError
from bert_jax.tasks import TASKS, Split

tfds = pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets")
pytest.importorskip("array_record", reason="TFDS without TensorFlow needs array_record")

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """TFDS says what it makes; here nobody waits for it."""
    monkeypatch.setattr("termcolor.cprint", lambda *_, **__: None)
    tfds.disable_progress_bar()


QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
MRPC = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
GLUE = {
    "SST-2/train.tsv": 'sentence\tlabel\n"quoted" film \t1\nbad \t0\n',
    "SST-2/dev.tsv": "sentence\tlabel\nso so \t0\n",
    "SST-2/test.tsv": "index\tsentence\n0\tunknown\n",
    "QQP/train.tsv": f"{QQP}7\t1\t2\tWhy ?\tHow ?\t0\n8\t3\t4\tA ?\ta ?\t1\n",
    "QQP/dev.tsv": f"{QQP}9\t1\t2\tWho ?\tWho is it ?\t1\n",
    "QQP/test.tsv": "id\tquestion1\tquestion2\n0\tWhat ?\tWhere ?\n",
    "STS-B/train.tsv": "index\tsentence1\tsentence2\tscore\n0\tA dog .\tA cat .\t1.250\n",
    "STS-B/dev.tsv": "index\tsentence1\tsentence2\tscore\n0\tA dog .\tA dog .\t5.000\n",
    "STS-B/test.tsv": "index\tsentence1\tsentence2\n0\tA dog .\tNo dog .\n",
    "CoLA/train.tsv": "gj04\t1\t\tThe book fell .\ngj04\t0\t*\tBook the fell .\n",
    "CoLA/dev.tsv": "gj04\t1\t\tShe sang .\n",
    "CoLA/test.tsv": "index\tsentence\n0\tSang she .\n",
    "mrpc_dev_ids": "10\t11\n",
    "mrpc_train": f"{MRPC}1\t1\t2\tHe ran .\tHe was running .\n0\t10\t11\tA\tB\n",
    "mrpc_test": f"{MRPC}1\t5\t6\tC\tD\n",
}
PUBLIC: dict[str, dict[tuple[Split, bool], set]] = {
    "sst2": {
        ("train", True): {("0", ('"quoted" film ',), 1.0), ("1", ("bad ",), 0.0)},
        ("dev", True): {("0", ("so so ",), 0.0)},
        ("test", False): {("0", ("unknown",), None)},
    },
    "qqp": {
        ("train", True): {("0", ("Why ?", "How ?"), 0.0), ("1", ("A ?", "a ?"), 1.0)},
        ("dev", False): {("0", ("Who ?", "Who is it ?"), None)},
        ("test", False): {("0", ("What ?", "Where ?"), None)},
    },
    "stsb": {
        ("train", True): {("0", ("A dog .", "A cat ."), 1.25)},
        ("dev", True): {("0", ("A dog .", "A dog ."), 5.0)},
        ("test", False): {("0", ("A dog .", "No dog ."), None)},
    },
    "cola": {
        ("train", True): {("0", ("The book fell .",), 1.0), ("1", ("Book the fell .",), 0.0)},
        ("dev", True): {("0", ("She sang .",), 1.0)},
        ("test", False): {("0", ("Sang she .",), None)},
    },
    "mrpc": {
        ("train", True): {("0", ("He ran .", "He was running ."), 1.0)},
        ("dev", True): {("1", ("A", "B"), 0.0)},
        ("test", False): {("0", ("C", "D"), None)},
    },
}


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """Small archives and files in the form of those that the builders download, in their place."""
    glue = tmp_path / "glue.zip"
    with zipfile.ZipFile(glue, "w") as files:
        for name, content in GLUE.items():
            files.writestr(name, content)
            (tmp_path / name.replace("/", "-")).write_text(content, encoding="utf-8")
    archive = tmp_path / "aclImdb_v1.tar.gz"
    with tarfile.open(archive, "w:gz") as files:
        for number in range(41):
            label = "pos" if number % 2 else "neg" if number < 40 else "unsup"
            review = tmp_path / "review.txt"
            review.write_text(f"A {label} film .<br />Number {number} , naïve .", encoding="utf-8")
            files.add(review, f"aclImdb/{'test' if 30 <= number < 40 else 'train'}/{label}/{number}_8.txt")

    def download(self, url):
        names = {"dev_ids": "mrpc_dev_ids", "train": "mrpc_train", "test": "mrpc_test"}
        return {key: tmp_path / names[key] for key in url} if isinstance(url, dict) else archive

    manager = "tensorflow_datasets.download.DownloadManager"
    monkeypatch.setattr(f"{manager}.download", download)
    monkeypatch.setattr(f"{manager}.download_and_extract", lambda self, _: self.extract(glue))


@pytest.mark.parametrize("name", PUBLIC)
def test_glue_is_read_as_tfds_makes_it(tmp_path, no_network, name):
    place = Datasets(tmp_path / "tfds", tmp_path, {})
    for (split, labelled), wanted in PUBLIC[name].items():
        table = place.read(TASKS[name], split, labelled)
        assert {(row.id, row.texts, row.label) for row in table.examples} == wanted and table.skipped == 0


def test_imdb_has_a_dev_split_of_its_own_and_no_row_is_lost(tmp_path, no_network):
    place = Datasets(tmp_path / "tfds", tmp_path, {})
    tables: dict[str, list] = {split: place.read(TASKS["imdb"], split, labelled=True).examples for split in SPLITS}
    assert {split: len(rows) for split, rows in tables.items()} == {"train": 27, "dev": 3, "test": 10}
    rows = [row for examples in tables.values() for row in examples]
    assert len({row.texts for row in rows}) == 40
    assert all(row.texts[0].startswith("A pos" if row.label else "A neg") and "naïve" in row.texts[0] for row in rows)


def test_what_tfds_cannot_get_or_read_is_one_sentence(tmp_path, no_network, monkeypatch):
    place = Datasets(tmp_path / "tfds", tmp_path, {"train": "train+validation", "dev": "validation[:0]"})
    with pytest.raises(InputError, match=r"sst2-train\+validation: id '0' stands in it twice"):
        place.read(TASKS["sst2"], "train", labelled=True)
    place = Datasets(tmp_path / "tfds", tmp_path, {})
    data = next((tmp_path / "tfds").rglob("glue-train.array_record*"))
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"sst2-train: .*; delete .*/glue/sst2/\S+ to have it made anew"):
        place.read(TASKS["sst2"], "train", labelled=True)
    info = data.parent / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(InputError, match=r"is in the format tfrecord, which needs TensorFlow; name another --tfds_dir"):
        place.read(TASKS["sst2"], "train", labelled=True)

    def offline(*_):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("tensorflow_datasets.download.DownloadManager.download_and_extract", offline)
    with pytest.raises(InputError, match=r"^glue/cola cannot be made in \S+: ConnectionError: no route$"):
        place.read(TASKS["cola"], "train", labelled=True)
