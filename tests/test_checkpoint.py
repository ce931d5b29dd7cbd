"""Checkpoints: what is kept, what is noticed, what is taken in place of a damaged one."""

import hashlib
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from bert_jax.errors import StorageError, WeightsError
from train.runs.checkpoint import Checkpoints, describe_leaves
from train.runs.manifest import NAME, Damaged, hash_files, read_manifest, verify, write_manifest
from train.step import TrainState


def state_at(step: int) -> TrainState:
    values = np.full((2, 3), step, np.float32)
    return TrainState(np.int32(step), {"bert": {"x": values, "n": np.int32(step)}}, {"bert": {"mu": values / 2}})  # type: ignore[arg-type]


def save(directory: Path, *steps: int, scores: dict[int, float] | None = None, run: str = "a run") -> None:
    checkpoints = Checkpoints(directory, run)
    for step in steps:
        checkpoints.save(state_at(step), {"losses": {"sst": [0.1, 1 / 3]}})
        if scores and step in scores:
            checkpoints.record_score(step, scores[step])
    checkpoints.close()


def restored_step(directory: Path) -> int | None:
    checkpoints = Checkpoints(directory, "a run")
    try:
        found = checkpoints.restore_latest(state_at(0))
    finally:
        checkpoints.close()
    if found is None:
        return None
    state, counters, _ = found
    assert counters == {"losses": {"sst": [0.1, 1 / 3]}}
    wanted = state_at(int(state.step))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    return int(state.step)


def best_step(directory: Path) -> int:
    checkpoints = Checkpoints(directory, "a run")
    try:
        return checkpoints.restore_params("best", like=state_at(0).params)[0]
    finally:
        checkpoints.close()


def steps(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    assert restored_step(tmp_path / "none") is None
    save(tmp_path, 3, 5)
    assert restored_step(tmp_path) == 5


def test_a_state_may_be_overwritten_as_soon_as_it_is_being_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path, "a run")
    state = state_at(4)
    checkpoints.save(state, {"losses": {"sst": [0.1, 1 / 3]}})
    state.params["bert"]["x"][:] = np.nan  # as an update does with the buffers that it was given
    checkpoints.close()
    assert restored_step(tmp_path) == 4


def test_the_newest_two_and_the_best_are_kept_whatever_the_score(tmp_path):
    save(tmp_path, 1, 2, 3, 4, 5, 6, scores={1: 0.1, 2: 0.9, 3: float("nan"), 4: 0.3, 6: 0.2})
    assert steps(tmp_path) == ["2", "5", "6"] and best_step(tmp_path) == 2
    save(tmp_path, 7, scores={7: 0.9})
    assert steps(tmp_path) == ["6", "7"] and best_step(tmp_path) == 7  # the later of equals


def test_without_a_score_the_newest_is_the_best(tmp_path):
    save(tmp_path, 1, 2, scores={1: float("nan")})
    assert best_step(tmp_path) == 2
    assert read_manifest(tmp_path / "1").evaluated and not read_manifest(tmp_path / "2").evaluated


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flip":
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    elif how == "cut":
        path.write_bytes(content[:-1])
    elif how == "delete":
        path.unlink()
    elif how == "add":
        path.with_name("more").write_text("x")
    elif how == "link":
        elsewhere = path.parents[3] / f"{path.parents[2].name}-elsewhere"
        path.rename(elsewhere)
        path.symlink_to(elsewhere)


def test_every_file_is_watched(tmp_path):
    """Any change of any file of a checkpoint is noticed; of its manifest, too."""
    save(tmp_path / "good", 5)
    files = [path for path in (tmp_path / "good" / "5").rglob("*") if path.is_file() and path.stat().st_size]
    assert len(files) > 5
    for file in files:
        for how in ("flip", "cut", "delete", "add"):
            shutil.rmtree(tmp_path / "bad", ignore_errors=True)
            shutil.copytree(tmp_path / "good" / "5", tmp_path / "bad")
            damage(tmp_path / "bad" / file.relative_to(tmp_path / "good" / "5"), how)
            with pytest.raises(Damaged):
                verify(tmp_path / "bad")


@pytest.mark.parametrize("how", ["flip", "cut", "delete", "add", "link"])
def test_in_place_of_a_damaged_checkpoint_the_one_before_is_taken_and_it_is_said(tmp_path, capsys, how):
    save(tmp_path, 3, 5, scores={5: 0.5})
    damage(tmp_path / "5" / "params" / "_METADATA", how)
    assert best_step(tmp_path) == 3
    assert "checkpoint 5 is damaged (params/" in capsys.readouterr().err
    assert restored_step(tmp_path) == 3
    assert "checkpoint 5 is damaged (params/" in capsys.readouterr().err
    assert steps(tmp_path) == ["3", "5.damaged"]
    save(tmp_path, 5)  # as the resumed run will
    assert restored_step(tmp_path) == 5


def test_where_all_are_damaged_nothing_is_deleted(tmp_path):
    save(tmp_path, 3, 5)
    for step in ("3", "5"):
        (tmp_path / step / "counters" / "metadata").unlink()
    before = hash_files(tmp_path)
    with pytest.raises(WeightsError, match=r"every checkpoint is damaged: 5 \(counters/metadata is missing\), 3 \("):
        restored_step(tmp_path)
    with pytest.raises(WeightsError, match="nothing was deleted"):
        best_step(tmp_path)
    assert hash_files(tmp_path) == before


def test_what_a_killed_process_left_half_done_is_no_checkpoint_and_goes(tmp_path):
    save(tmp_path, 3)
    shutil.copytree(tmp_path / "3", tmp_path / "4.unfinished")
    shutil.copytree(tmp_path / "3", tmp_path / "2.dropped")
    assert restored_step(tmp_path) == 3 and steps(tmp_path) == ["3"]


def test_a_checkpoint_of_another_model_is_refused_with_the_difference(tmp_path):
    save(tmp_path, 3)
    like = state_at(0).replace(params={"bert": {"x": np.zeros((2, 4), np.float32), "n": np.int32(0)}})
    checkpoints = Checkpoints(tmp_path, "a run")
    with pytest.raises(WeightsError, match=r"params/bert/x: float32\[2, 3\] saved, float32\[2, 4\] wanted"):
        checkpoints.restore_latest(like)
    checkpoints.close()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    save(tmp_path, 3, run="another run")
    with pytest.raises(WeightsError, match="belongs to another run"):
        restored_step(tmp_path)


def test_a_save_that_fails_is_an_error_and_leaves_the_last_one(tmp_path, monkeypatch):
    save(tmp_path, 3)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("train.runs.checkpoint.write_manifest", full)
        with pytest.raises(StorageError, match=r"5 cannot be written: .*No space left"):
            save(tmp_path, 5)
    assert steps(tmp_path) == ["3"] and restored_step(tmp_path) == 3


def test_a_score_that_cannot_be_written_leaves_the_checkpoint_whole(tmp_path, monkeypatch):
    """As a kill does, or a full disk, before the new manifest has taken the old one's name."""
    save(tmp_path, 3)

    def full(self, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(StorageError, match="No space left"):
            save(tmp_path, 3, scores={3: 0.5})
    assert (tmp_path / "3" / f"{NAME}.unfinished").exists()
    assert restored_step(tmp_path) == 3 and best_step(tmp_path) == 3
    save(tmp_path, 3, scores={3: 0.5})
    assert read_manifest(tmp_path / "3").score == 0.5 and not (tmp_path / "3" / f"{NAME}.unfinished").exists()


def test_a_checkpoint_that_the_disk_no_longer_reads_gives_way_to_the_one_before(tmp_path, monkeypatch, capsys):
    save(tmp_path, 3, 5)
    digest = hashlib.file_digest

    def unreadable(file, name):
        if "/5/" in file.name:
            raise OSError(5, "Input/output error")
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", unreadable)
    assert best_step(tmp_path) == 3 and restored_step(tmp_path) == 3
    assert "cannot be read: Input/output error" in capsys.readouterr().err and "5.damaged" in steps(tmp_path)


def test_a_manifest_is_one_of_its_folder_and_its_own_sum(tmp_path):
    save(tmp_path, 3)
    manifest = verify(tmp_path / "3")
    assert manifest.leaves["params/bert/x"] == "float32[2, 3]"
    assert manifest.leaves == describe_leaves({"params": state_at(3).params, "opt_state": state_at(3).opt_state})
    path = tmp_path / "3" / NAME
    path.write_text(path.read_text().replace('"evaluated": false', '"evaluated": true'))
    with pytest.raises(Damaged, match="has changed"):
        read_manifest(tmp_path / "3")
    write_manifest(tmp_path / "3", manifest)
    assert verify(tmp_path / "3") == manifest
