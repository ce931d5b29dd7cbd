"""What a run leaves to look at: learning curves, and events for TensorBoard."""
# pyright: reportAttributeAccessIssue=false, reportReturnType=false, reportIndexIssue=false, reportArgumentType=false, reportCallIssue=false

import errno
import json
import math
import os
import struct
from pathlib import Path

import pytest

from bert_jax.errors import InputError, Interrupted, StorageError, WeightsError
from eval import curves
from eval.curves import LOSS, SCORE, as_png, draw_run
from tests.test_run import run_small, signal_at_batch, small_inputs
from train.config import TrainConfig
from train.main import main
from train.run import draw_curves
from train.runs import events
from train.runs.events import EventLog, check_tensorboard, scalars
from train.runs.folder import RunDir
from train.runs.log import append, entries

LOG = [
    {"step": 2, "loss": {"sst": 1.5, "sts": None}, "seconds": 0.1},
    {"step": 3, "epoch": 1, "dev": {"sst": {"accuracy": 0.25}, "sts": {"pearson": None}}, "score": None},
    {"step": 4, "skipped": "sts", "why": "", "in_all": {"sts": 1}},
    {"step": 4, "loss": {"sst": 1.25}, "seconds": 0.1},
    {"step": 6, "epoch": 2, "dev": {"sst": {"accuracy": 0.5}, "sts": {"pearson": 0.75}}, "score": 0.625},
]
METRICS = {"sst": "accuracy", "sts": "pearson"}
TAGS = {"loss/sst", "loss/sts", "dev/sst/accuracy", "dev/sts/pearson", "score"}


def read_events(folder: Path) -> list:
    """Every event of a folder's one file, its framing taken apart here."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.out.tfevents.*")
    data, start, found = path.read_bytes(), 0, []
    while start < len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        found.append(Event.FromString(data[start + 12 : start + 12 + length]))  # 4 bytes of check sum before, 4 behind
        start += length + 16
    return found


def numbers(folder: Path) -> list[tuple[int, str, float]]:
    return [
        (event.step, value.tag, value.simple_value) for event in read_events(folder) for value in event.summary.value
    ]


def expected(run_dir: Path) -> list[tuple[int, str, float]]:
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return [
        (line["step"], name, pytest.approx(value, rel=1e-6)) for line in lines for name, value in scalars(line).items()
    ]


def test_curves_show_every_loss_and_score_of_the_log():
    figure = draw_run(LOG, METRICS)
    shown = {
        axes.get_title(loc="left"): [tuple(point) for point in axes.lines[0].get_xydata().tolist()]
        for axes in figure.axes
    }
    assert shown["sst, train loss"] == [(2, 1.5), (4, 1.25)]
    assert shown["sst, dev accuracy"] == [(3, 0.25), (6, 0.5)]
    assert shown["sts, dev Pearson"][1] == (6, 0.75) and math.isnan(shown["sts, dev Pearson"][0][1])
    assert [axes.lines[0].get_color() for axes in figure.axes] == [LOSS, SCORE] * 2
    assert {axes.lines[1].get_xdata()[0] for axes in figure.axes[1::2]} == {6}  # the best checkpoint


def test_the_same_log_gives_the_same_bytes_and_they_name_no_version():
    one, other = (as_png(draw_run(LOG, METRICS)) for _ in range(2))
    assert one == other and one.startswith(b"\x89PNG") and b"atplotlib" not in one
    assert as_png(draw_run(LOG[:1], METRICS)) != one
    assert as_png(draw_run([], METRICS)).startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "watched"
    run_small(path, tensorboard=True)
    return path


def test_a_run_ends_with_the_curves_of_its_log(watched):
    drawn = draw_run(entries(watched / "metrics.jsonl"), METRICS)
    assert (watched / "learning_curves.png").read_bytes() == as_png(drawn)


def test_a_run_does_not_fail_for_its_picture(tmp_path, monkeypatch, capsys):
    for entry in LOG:
        append(tmp_path / "metrics.jsonl", entry)
    run, inputs = RunDir(tmp_path, ""), small_inputs(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(curves, "as_png", lambda _: 1 / 0)
        draw_curves(run, inputs)
        assert "learning_curves.png was not drawn: division by zero" in capsys.readouterr().err
        patch.setattr("train.run.find_spec", lambda _: None)
        draw_curves(run, inputs)
        assert capsys.readouterr().err == "" and not run.curves.exists()
    draw_curves(run, inputs)
    assert run.curves.read_bytes() == as_png(draw_run(LOG, METRICS))


def test_dev_scores_are_on_the_disk_when_they_are_in_the_log(tmp_path, monkeypatch):
    path, synced = tmp_path / "metrics.jsonl", []

    def sync(descriptor):
        synced.append((os.fstat(descriptor).st_ino, path.read_text().count("\n")))

    monkeypatch.setattr(os, "fsync", sync)
    for entry in LOG:
        append(path, entry)
    ends = [number for number, entry in enumerate(LOG, start=1) if "dev" in entry]
    assert ends and synced == [(each.stat().st_ino, number) for number in ends for each in (path, tmp_path)]


def test_a_log_that_is_no_text_is_said(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff\n')
    with pytest.raises(WeightsError, match=r"is not the log of a run: .*can't decode"):
        entries(tmp_path / "metrics.jsonl")


def test_tensorboard_has_every_number_of_the_log(watched):
    found = numbers(watched / "tensorboard")
    assert found == expected(watched) and {name for _, name, _ in found} >= TAGS
    first, start, *_ = read_events(watched / "tensorboard")
    assert first.file_version == "brain.Event:2" and start.session_log.status == start.session_log.START


def test_a_resumed_run_has_each_event_once(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        signal_at_batch(patch, task_texts=2, batches=6, number=3)  # a training batch of sts, after the first epoch
        with pytest.raises(Interrupted):
            run_small(tmp_path, tensorboard=True)
    append(tmp_path / "metrics.jsonl", {"step": 99, "loss": {"sst": 0.0}})  # of an update that was lost
    run_small(tmp_path, tensorboard=True)
    found = numbers(tmp_path / "tensorboard")
    assert found == expected(tmp_path) and len({(step, name) for step, name, _ in found}) == len(found)
    assert max(step for step, _, _ in found) == 12


def test_a_missing_package_is_said_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(events, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="--tensorboard needs tensorboardX: pip install tensorboardX"):
        check_tensorboard()
    with pytest.raises(InputError, match="--tensorboard needs"):
        main(TrainConfig(tensorboard=True, data_dir=Path("/no/such/folder"), init="x"))


def test_events_that_cannot_be_written_are_an_error_in_words(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file cannot be written"):
        EventLog(tmp_path / "file", [])
    log = EventLog(tmp_path / "events", LOG)

    def fill(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log._writer, "flush", fill)
    with pytest.raises(StorageError, match="events cannot be written: No space left on device"):
        log.write(LOG[0])
    log.close()
    monkeypatch.undo()
    log.close()
