"""`python -m bert_jax.data download`: public data from their official places, and what is to be fetched by hand."""

import dataclasses
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bert_jax.cli.command import run_command
from bert_jax.cli.settings import setting
from bert_jax.data.download import fetch, unpack
from bert_jax.data.public import PUBLIC, TREEBANK, TREEBANK_FILES, PublicSet, by_hand, default_folder, next_commands
from bert_jax.errors import InputError, Interrupted, perhaps


@dataclasses.dataclass(frozen=True)
class DownloadConfig:
    """Fetches public data from their official places, holds them to their SHA-256, and says what else there is."""

    names: tuple[str, ...] = setting((), words=True)
    """What to fetch: sst, sst2, qqp, stsb, mrpc, cola, imdb. Default: everything."""
    data_dir: Path = Path("data")
    """Folder of the Sentiment Treebank."""
    tfds_dir: Path | None = None
    """TensorFlow Datasets' folder, for the others. Default: $TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    list: bool = False
    """Say what there is, and fetch nothing."""


def download(sets: Mapping[str, PublicSet], names: Sequence[str], data_dir: Path, tfds_dir: Path) -> None:
    """Fetches some sets; what a server does not give is told, and the others are fetched all the same.

    Raises:
      UserError: at least one could not be had.
    """
    failed: dict[str, InputError] = {}
    for name in names:
        folder = sets[name].folder(data_dir, tfds_dir)
        try:
            for file in sets[name].files:
                fetched = fetch(file, folder)
                print(f"{name:<5} {folder / file.name}{'' if fetched else ', which was there'}", flush=True)
            if sets[name].reader == "stanford":
                unpack(data_dir / f"{TREEBANK}.zip", TREEBANK_FILES, data_dir / TREEBANK)
                print(f"{name:<5} {data_dir / TREEBANK}{'/'}", flush=True)
        except InputError as error:
            failed[name] = error
            if len(names) > 1:
                print(f"warning: {name}: {error}", file=sys.stderr, flush=True)
    done = [name for name in names if name not in failed]
    if commands := next_commands(done, data_dir, tfds_dir, default_folder()):
        print("\nNext:", *commands, sep="\n  ")
    if failed:
        raise failed[names[0]] if len(names) == 1 else InputError(f"these could not be fetched: {', '.join(failed)}")


def main(flags: DownloadConfig, sets: Mapping[str, PublicSet] = PUBLIC) -> None:
    """Does what the command line says.

    Raises:
      UserError: it cannot be done.
    """
    for name in flags.names:
        if name not in sets:
            raise InputError(f"{name!r} is no public data set{perhaps(name, sets)}; there are {', '.join(sets)}")
    names = [*dict.fromkeys(flags.names)] or [*sets]
    tfds_dir = flags.tfds_dir or default_folder()
    if flags.list:
        for name in names:
            print(f"{name:<5} {sets[name].about}, {sets[name].megabytes}")
            print("".join(f"      {file.url}\n" for file in sets[name].files), end="")
            print(f"      into {sets[name].folder(flags.data_dir, tfds_dir)}")
    else:
        try:
            download(sets, names, flags.data_dir, tfds_dir)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; what has come is kept, and the same command goes on") from None
    if flags.list or not flags.names:
        print(f"\n{by_hand(flags.data_dir / 'cs224n')}")


def without_command(args: Sequence[str]) -> list[str]:
    """The words behind `download`, so far the only command.

    Raises:
      InputError: it is not there.
    """
    if args and args[0] == "download":
        return list(args[1:])
    if "--help" in args:
        return list(args)
    given = f"{args[0]!r} is no command here{perhaps(args[0], ['download'])}" if args else "there is no command"
    raise InputError(f"{given}; see python -m bert_jax.data download --help")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_command(DownloadConfig, main, "bert_jax.data download", translate=without_command)
