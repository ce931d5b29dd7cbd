"""Files of the web, from a server on this machine that breaks off, lies and refuses."""

from pathlib import Path

import pytest

from bert_jax.data import download as downloads
from bert_jax.data.download import fetch
from bert_jax.data.public import PublicFile
from bert_jax.errors import InputError, InUseError, StorageError
from tests.loopback import CONTENT


def part(folder: Path, content: bytes) -> Path:
    path = folder / "data.bin.part"
    path.write_bytes(content)
    return path


def assert_whole(folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"data.bin": CONTENT}


@pytest.mark.parametrize("size", [len(CONTENT), None])
@pytest.mark.parametrize("declares", [True, False])
def test_a_file_comes_whole_into_a_new_folder_and_is_not_fetched_again(server, tmp_path, declares, size):
    server.declares = declares
    assert fetch(server.file(size=size), tmp_path / "a" / "b")
    assert_whole(tmp_path / "a" / "b")
    assert not fetch(server.file(), tmp_path / "a" / "b")
    assert server.asked == [""]


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_what_was_broken_off_goes_on_from_there(server, tmp_path, size):
    part(tmp_path, CONTENT[:1000])
    assert fetch(server.file(size=size), tmp_path)
    assert server.asked == ["bytes=1000-"]
    assert_whole(tmp_path)


def test_a_server_without_ranges_sends_it_anew(server, tmp_path):
    server.ranges = False
    part(tmp_path, b"no beginning of it")
    fetch(server.file(), tmp_path)
    assert_whole(tmp_path)


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_part_that_is_whole_is_not_asked_for(server, tmp_path, size):
    part(tmp_path, CONTENT)
    fetch(server.file(size=size), tmp_path)
    assert server.asked == []
    assert_whole(tmp_path)


def test_a_part_that_is_longer_than_the_file_is_begun_anew(server, tmp_path):
    part(tmp_path, CONTENT + b"more")
    fetch(server.file(size=None), tmp_path)
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", ""]
    assert_whole(tmp_path)


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_connection_that_breaks_is_taken_up_as_long_as_something_comes(server, tmp_path, size):
    server.breaks = 100_000
    fetch(server.file(size=size), tmp_path)
    assert server.asked == ["", *(f"bytes={n}00000-" for n in range(1, 6))]
    assert_whole(tmp_path)


def test_a_connection_that_brings_nothing_is_given_up_and_what_came_is_kept(server, tmp_path):
    server.breaks = 0
    part(tmp_path, CONTENT[:1000])
    with pytest.raises(InputError, match=r"ended after 1,000 of 512,000 bytes; the 1,000 bytes that came are kept"):
        fetch(server.file(), tmp_path)
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("begun", [b"", b"another file's beginning"])
def test_a_file_of_another_hash_is_deleted_and_named_with_both(server, tmp_path, begun):
    server.content = CONTENT[::-1]
    part(tmp_path, begun)
    wanted = server.file(sha256="0" * 64)
    with pytest.raises(InputError, match=rf"{wanted.url} gave a file of SHA-256 [0-9a-f]{{64}}, not 0{{64}}; it was"):
        fetch(wanted, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_the_file_has_are_not_taken(server, tmp_path):
    server.declares = False
    with pytest.raises(InputError, match=r"has more than 1,000 bytes, so it is not the file"):
        fetch(server.file(size=1000), tmp_path)
    assert (tmp_path / "data.bin.part").stat().st_size == 0


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (503, 3)])
def test_an_answer_that_is_an_error_is_one_sentence(server, tmp_path, status, asked):
    server.status = status
    with pytest.raises(InputError, match=rf"/data\.bin .*answers {status} [A-Z]"):
        fetch(server.file(), tmp_path)
    assert len(server.asked) == asked  # what may pass is tried again


def test_without_a_network_it_says_so_at_once(tmp_path):
    with pytest.raises(InputError, match=r"^http://server\.invalid/x cannot be fetched: [A-Z]"):
        fetch(PublicFile("http://server.invalid/x", "x", "0" * 64), tmp_path)


def test_what_lies_in_its_place_is_left_alone(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"data\.bin is there but is not what http"):
        fetch(server.file(), tmp_path)
    (tmp_path / "folder.bin").mkdir()
    with pytest.raises(StorageError, match=r"folder\.bin cannot be written: it is a folder, not a file"):
        fetch(server.file("folder.bin"), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == b"mine" and server.asked == []


def test_a_folder_that_cannot_be_made_or_written_is_one_sentence_of_code_5(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/sub cannot be written: Not a directory"):
        fetch(server.file(), tmp_path / "file" / "sub")
    (tmp_path / "data.bin.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"No space left on device; what has come is kept, and the same command"):
        fetch(server.file(), tmp_path)
    assert StorageError.exit_code == 5


def test_one_process_at_a_time_writes_a_file(server, tmp_path):
    with downloads._alone(tmp_path / "data.bin.part"), pytest.raises(InUseError, match="another process"):
        fetch(server.file(), tmp_path)
