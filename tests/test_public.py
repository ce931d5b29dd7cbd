"""`python -m bert_jax.data`: what it fetches, unpacks and says, and that it is what the readers want."""

import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from bert_jax.cli.flags import parse_flags
from bert_jax.data import __main__ as command
from bert_jax.data.download import unpack
from bert_jax.data.public import PUBLIC, TREEBANK, TREEBANK_FILES, PublicSet
from bert_jax.data.tfds import Datasets
from bert_jax.errors import InputError, UserError
from bert_jax.tasks import TASKS
from tests.loopback import Server


def main(args: list[str], sets: Mapping[str, PublicSet] = PUBLIC) -> None:
    flags = command.without_command(args)
    command.main(parse_flags(command.DownloadConfig, "bert_jax.data download", flags), sets)


def archive(path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as files:
        for name, content in members:
            files.writestr(name, content)
    return path


def test_only_the_named_files_come_out_of_an_archive(tmp_path):
    hostile = [("../evil", b"x"), ("/etc/evil", b"x"), ("__MACOSX/top/._a.txt", b"x"), ("top/other", b"x")]
    path = archive(tmp_path / "in.zip", [*hostile, ("../../top/a.txt", b"A"), ("b.txt", b"B")])
    unpack(path, ("a.txt", "b.txt"), tmp_path / "out")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == {"a.txt": b"A", "b.txt": b"B"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.zip", "out"]


def test_an_archive_that_is_not_as_it_should_be_writes_nothing(tmp_path):
    link = zipfile.ZipInfo("a.txt")
    link.external_attr = 0o120777 << 16
    wrong = {
        "is a link": [(link, b"/etc/passwd")],
        "has 0 files called a.txt": [("b.txt", b"x")],
        "has 2 files called a.txt": [("x/a.txt", b"x"), ("y/a.txt", b"x")],
        "has more than 1,000 bytes": [("a.txt", bytes(10**7))],
    }
    for sentence, members in wrong.items():
        with pytest.raises(InputError, match=sentence):
            unpack(archive(tmp_path / "in.zip", members), ("a.txt",), tmp_path / "out", largest=1000)
    (tmp_path / "in.zip").write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"in\.zip is no zip that can be read: File is not a zip file"):
        unpack(tmp_path / "in.zip", ("a.txt",), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def served(server: Server, tmp_path: Path) -> dict[str, PublicSet]:
    """Sets that the server has: the Sentiment Treebank's archive, and another that it has not."""
    members = [(f"{TREEBANK}/{name}", name.encode()) for name in TREEBANK_FILES]
    server.content = archive(tmp_path / "made.zip", [*members, ("evil", b"")]).read_bytes()
    treebank = PublicSet("five labels", (server.file(f"{TREEBANK}.zip", size=None),), "stanford")
    return {"sst": treebank, "qqp": PublicSet("pairs", (server.file("QQP.zip", sha256="0" * 64),))}


def test_the_command_unpacks_the_treebank_and_says_what_comes_next(server, tmp_path, capsys):
    sets = served(server, tmp_path)
    main(["download", "sst", f"--data_dir={tmp_path / 'data'}"], sets)
    said = capsys.readouterr().out
    folder = tmp_path / "data" / TREEBANK
    assert {path.name: path.read_text() for path in folder.iterdir()} == {name: name for name in TREEBANK_FILES}
    assert f"python -m train.stanford --stanford_dir={folder} --data_dir={tmp_path / 'data'}/stanford" in said
    main(["download", "sst", f"--data-dir={tmp_path / 'data'}"], sets)
    assert ".zip, which was there\n" in capsys.readouterr().out and len(server.asked) == 1


def test_what_one_server_does_not_give_keeps_nothing_else_back(server, tmp_path, capsys):
    sets = served(server, tmp_path)
    with pytest.raises(InputError, match=r"^these could not be fetched: qqp$"):
        main(["download", "qqp", "sst", f"--data_dir={tmp_path}", f"--tfds_dir={tmp_path / 'tfds'}"], sets)
    said = capsys.readouterr()
    assert said.err.startswith("warning: qqp: http://127.0.0.1") and "SHA-256" in said.err
    assert "train.stanford" in said.out and "--data=tfds" not in said.out


def test_everything_is_fetched_where_nothing_is_named_and_what_cannot_be_is_told(server, tmp_path, capsys):
    sets = {"sst": served(server, tmp_path)["sst"]}
    main(["download", f"--data_dir={tmp_path}"], sets)
    assert "To be fetched by hand: the tables of CS224N" in capsys.readouterr().out
    main(["download", "--list"])
    said = capsys.readouterr().out
    assert all(file.url in said for public in PUBLIC.values() for file in public.files)
    assert "quora-train.csv, quora-dev.csv, quora-test-student.csv" in said


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["download", "stb"], "'stb' is no public data set (perhaps you meant stsb); there are sst, sst2"),
        (
            ["donwload"],
            "'donwload' is no command here (perhaps you meant download); see python -m bert_jax.data download",
        ),
        (["download", "--output=x"], "--output=x is no flag here; --help lists"),
        ([], "there is no command; see python -m bert_jax.data download --help"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(args, sentence):
    with pytest.raises(UserError) as caught:
        main(args)
    assert sentence in str(caught.value)


def test_addresses_and_hashes_are_those_that_tfds_states():
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets")
    package = Path(tfds.__file__).parent
    stated = {}
    for path in ("url_checksums/glue.txt", "datasets/imdb_reviews/checksums.tsv"):
        for line in (package / path).read_text().splitlines():
            url, size, sha256, name = line.split("\t")
            stated[url] = (name, sha256, int(size))
    for name, public in PUBLIC.items():
        for file in public.files:
            assert public.reader == "stanford" or stated[file.url] == (file.name, file.sha256, file.size), name


def test_tfds_reads_what_was_fetched_without_a_network(server, tmp_path, monkeypatch):
    glue = pytest.importorskip("tensorflow_datasets.text.glue", reason="needs tensorflow-datasets")
    pytest.importorskip("array_record", reason="TFDS without TensorFlow needs array_record")
    from tensorflow_datasets.core.download.checksums import UrlInfo

    head = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    rows = {"train": f"{head}7\t1\t2\tWhy ?\tHow ?\t0\n", "dev": f"{head}9\t1\t2\tWho ?\tWho is it ?\t1\n"}
    rows["test"] = "id\tquestion1\tquestion2\n0\tWhat ?\tWhere ?\n"
    made = archive(tmp_path / "made.zip", [(f"QQP/{split}.tsv", text.encode()) for split, text in rows.items()])
    server.content = made.read_bytes()
    file = server.file("QQP.zip")
    url = PUBLIC["qqp"].files[0].url
    monkeypatch.setattr(glue.Glue, "url_infos", {url: UrlInfo(file.size, file.sha256, file.name)})
    main(["download", "qqp", f"--tfds_dir={tmp_path / 'tfds'}"], {"qqp": PublicSet("pairs", (file,))})
    monkeypatch.setattr("termcolor.cprint", lambda *_, **__: None)
    table = Datasets(tmp_path / "tfds", tmp_path, {}).read(TASKS["qqp"], "dev", labelled=True)
    assert [(row.texts, row.label) for row in table.examples] == [(("Who ?", "Who is it ?"), 1.0)]


INTERRUPTED = """
import runpy, sys, time
import bert_jax.data.download as downloads
def slow(*_):
    print("waiting", flush=True)
    time.sleep(60)
downloads._transfer = slow
sys.argv = ["data", "download", "qqp", f"--tfds_dir={sys.argv[1]}"]
runpy.run_module("bert_jax.data", run_name="__main__")
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_download_says_that_it_goes_on_and_ends_with_code_75(tmp_path, sent):
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    process = subprocess.Popen(command, cwd=root, stdout=-1, stderr=-1, text=True)
    assert process.stdout and process.stdout.readline() == "waiting\n"
    time.sleep(0.1)
    process.send_signal(sent)
    assert process.communicate(timeout=60)[1] == (
        "error: interrupted; what has come is kept, and the same command goes on\n"
    )
    assert process.returncode == 75
