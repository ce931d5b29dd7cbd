"""Prediction files: their bytes, every id once, and which files a run has."""

import csv
import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Folder
from bert_jax.errors import InputError, StorageError, WeightsError
from bert_jax.tasks import TASKS
from eval.submission import SubmissionConfig, format_predictions, main, read_splits, write_files
from tests.builders import begin
from train.config import TrainConfig
from train.main import main as train
from train.stages import start_config

ROWS = 9  # of each table
LABELS = {"sst": "sentiment", "quora": "is_duplicate", "sts": "similarity"}


def test_a_file_has_the_bytes_that_the_course_expects():
    logits = np.array([[0.1, 0.9, 0, 0, 0], [0, 0, 0, 0, 2.0]], np.float32)
    assert format_predictions(TASKS["sst"], ["a", "b"], logits) == "id \t Predicted_Sentiment \na , 1 \nb , 4 \n"
    assert format_predictions(TASKS["cfimdb"], ["a"], logits[:1, :2]) == "id \t Predicted_Sentiment \na , 1 \n"
    scores = np.array([3.1, -0.5], np.float32)
    assert format_predictions(TASKS["quora"], ["a", "b"], scores) == (
        "id \t Predicted_Is_Paraphrase \na , 1.0 \nb , 0.0 \n"
    )
    assert format_predictions(TASKS["sts"], ["a", "b"], scores) == (
        "id \t Predicted_Similiary \na , 3.0999999046325684 \nb , -0.5 \n"
    )


def test_the_same_predictions_give_the_same_zip(tmp_path):
    texts = {"sts-dev-output.csv": "s\n", "para-dev-output.csv": "é\n"}
    first = write_files(tmp_path, texts).read_bytes()
    again = write_files(tmp_path / "new", dict(reversed(texts.items())))
    assert again == tmp_path / "new" / "predictions.zip" and again.read_bytes() == first
    assert sorted(path.name for path in tmp_path.rglob("*.unfinished")) == []
    with zipfile.ZipFile(again) as archive:
        assert archive.namelist() == ["predictions/para-dev-output.csv", "predictions/sts-dev-output.csv"]
        assert archive.read("predictions/para-dev-output.csv").decode() == "é\n"
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "predictions").write_text("mine")
    with pytest.raises(StorageError, match="predictions cannot be written: File exists"):
        write_files(tmp_path, {"a.csv": ""})


def write_tables(folder: Path, *names: str) -> Path:
    """The first rows of tables of the sample; of each dev table the second and third have no label."""
    folder.mkdir()
    for name in names:
        for split in ("train", "dev", "test"):
            file = TASKS[name].files[split][0]
            with (SAMPLE / file).open(encoding="utf-8", newline="") as source:
                header, *rows = list(csv.reader(source, delimiter="\t"))[: ROWS + 1]
            for row in rows[1:3] if split == "dev" else ():
                row[header.index(LABELS[name])] = ""
            with (folder / file).open("w", encoding="utf-8", newline="") as target:
                csv.writer(target, delimiter="\t", lineterminator="\n").writerows([header, *rows])
    return folder


def table_ids(data: Path, name: str) -> list[str]:
    with (data / name).open(encoding="utf-8") as source:
        return [row["id"] for row in csv.DictReader(source, delimiter="\t")]


def file_ids(path: Path) -> list[str]:
    return [row.split(" , ")[0] for row in path.read_text().splitlines()[1:]]


def small(run_dir: Path, data: Path, start: TrainConfig | None = None, **settings) -> TrainConfig:
    common = dict(run_dir=run_dir, data_dir=data, vocab=SAMPLE, epochs=1, batch_size=16, row_length=256, devices=1)
    return dataclasses.replace(start or TrainConfig(), **common | settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """A run of three tasks, and its tables."""
    folder = tmp_path_factory.mktemp("three")
    data = write_tables(folder / "data", "sst", "quora", "sts")
    begin(small(folder / "run", data))
    return folder / "run", data


def test_every_id_has_one_prediction_in_the_tables_order(trained, tmp_path, capsys):
    run_dir, data = trained
    main(SubmissionConfig(run_dir=run_dir, devices=1))
    wanted = {
        f"{course}-{split}-output.csv": table_ids(data, TASKS[name].files[split][0])
        for course, name in (("sst", "sst"), ("para", "quora"), ("sts", "sts"))
        for split in ("dev", "test")
    }
    predictions = run_dir / "predictions"
    assert {path.name: file_ids(path) for path in predictions.iterdir()} == wanted
    assert all(len(ids) == ROWS for ids in wanted.values())
    said = capsys.readouterr()
    assert said.out.count("9 rows") == 6 and f"6 files  {run_dir}/predictions.zip" in said.out and said.err == ""
    with zipfile.ZipFile(run_dir / "predictions.zip") as archive:
        assert {name: archive.read(f"predictions/{name}") for name in wanted} == {
            name: (predictions / name).read_bytes() for name in wanted
        }

    main(SubmissionConfig(run_dir=run_dir, devices=1, output=tmp_path / "again"))
    assert (tmp_path / "again" / "predictions.zip").read_bytes() == (run_dir / "predictions.zip").read_bytes()
    begin(small(run_dir, data, epochs=2))  # a run goes on in a folder that holds predictions


def test_a_missing_test_table_is_said_and_the_other_files_are_written(trained, tmp_path, capsys):
    run_dir, data = trained
    other = tmp_path / "data"
    other.mkdir()
    for path in data.iterdir():
        if path.name != "quora-test-student.csv":
            (other / path.name).symlink_to(path)
    main(SubmissionConfig(run_dir=run_dir, data_dir=other, devices=1, output=tmp_path))
    names = {path.name for path in (tmp_path / "predictions").iterdir()}
    assert names == {f"{which}-output.csv" for which in ("sst-dev", "sst-test", "para-dev", "sts-dev", "sts-test")}
    assert capsys.readouterr().err == (
        f"warning: {other} has no quora-test-student.csv: no predictions for the test table of quora\n"
    )
    own = dataclasses.replace(TASKS["sst"], name="own", folder=data, files={"dev": ("ids-sst-dev.csv",)})
    assert read_splits(Folder(other), [own]).keys() == {(own, "dev")}
    assert "warning: task own names no test file: no predictions" in capsys.readouterr().err
    (other / "sts-dev.csv").unlink()
    with pytest.raises(InputError, match=r"has no sts-dev\.csv"):
        main(SubmissionConfig(run_dir=run_dir, data_dir=other, devices=1, output=tmp_path))
    with pytest.raises(StorageError, match=r"--output=.*/no/where is no folder"):
        main(SubmissionConfig(run_dir=run_dir, devices=1, output=tmp_path / "no" / "where"))


def test_outputs_that_are_not_finite_are_refused_before_anything_is_written(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("train.runs.finished.predict_split", lambda *_: np.full((ROWS, 5), np.nan))
    with pytest.raises(WeightsError, match="gives outputs of sst that are not finite"):
        main(SubmissionConfig(run_dir=trained[0], devices=1, output=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_of_a_single_task_has_files_of_both_stages(tmp_path):
    data = write_tables(tmp_path / "data", "sst")
    train(small(tmp_path / "run", data, start_config("sst_single"), pretrain_epochs=1))
    main(SubmissionConfig(run_dir=tmp_path / "run", devices=1))
    predictions = tmp_path / "run" / "predictions"
    names = {f"{mode}-sst-{split}-out.csv" for mode in ("pretrain", "finetune") for split in ("dev", "test")}
    assert {path.name for path in predictions.iterdir()} == names
    for split in ("dev", "test"):
        for mode in ("pretrain", "finetune"):
            ids = file_ids(predictions / f"{mode}-sst-{split}-out.csv")
            assert ids == table_ids(data, TASKS["sst"].files[split][0])

    main(SubmissionConfig(run_dir=tmp_path / "run" / "1-pretrain", devices=1, output=tmp_path / "one"))
    one = {path.name: path.read_bytes() for path in (tmp_path / "one" / "predictions").iterdir()}
    assert one == {name: (predictions / name).read_bytes() for name in names if name.startswith("pretrain")}
    train(small(tmp_path / "run", data, start_config("sst_single"), pretrain_epochs=1))  # the files are in nobody's way


def test_a_masked_lm_has_no_predictions(tmp_path):
    data = write_tables(tmp_path / "data", "sst")
    begin(small(tmp_path / "run", data, mode="mlm", tasks="sst"))
    with pytest.raises(InputError, match=r"is a masked LM, which gives texts no labels; python -m train\.main --init="):
        main(SubmissionConfig(run_dir=tmp_path / "run"))
    assert not (tmp_path / "run" / "predictions").exists()
