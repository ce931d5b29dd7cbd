"""`python -m bert_jax.data download`: public data from their official places, and what is to be fetched by hand."""

import argparse
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bert_jax.data.download import fetch, unpack
from bert_jax.data.public import PUBLIC, TREEBANK, TREEBANK_FILES, PublicSet, by_hand, next_commands
from bert_jax.data.tfds import default_folder
from bert_jax.errors import InputError, Interrupted, UserError, perhaps


class Parser(argparse.ArgumentParser):
    """One that raises what is wrong, as all of this program does."""

    def error(self, message: str) -> NoReturn:
        """Raises InputError."""
        raise InputError(f"{message}; see {self.prog} --help")


def make_parser() -> Parser:
    """The command line: one command, so far."""
    # Not tyro: `bert_jax` is below `train`, which has the only file that knows it.
    parser = Parser(prog="python -m bert_jax.data", allow_abbrev=False, description="Data to train on.")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="download", parser_class=Parser)
    about = "Fetch public data from their official places, hold them to their SHA-256, and say what else there is."
    download = commands.add_parser("download", help=about, description=about, allow_abbrev=False)
    add = download.add_argument
    add("names", nargs="*", metavar="NAME", help=f"what to fetch: {', '.join(PUBLIC)}. Default: everything.")
    folder = "folder of the Sentiment Treebank. Default: data."
    add("--data_dir", "--data-dir", type=Path, default=Path("data"), metavar="PATH", help=folder)
    folder = "TensorFlow Datasets' folder, for the others. Default: $TFDS_DATA_DIR, or ~/tensorflow_datasets."
    add("--tfds_dir", "--tfds-dir", type=Path, metavar="PATH", help=folder)
    add("--list", action="store_true", help="say what there is, and fetch nothing.")
    add("--debug", action="store_true", help="show where in the program an error came up.")
    return parser


def download(sets: Mapping[str, PublicSet], names: Sequence[str], data_dir: Path, tfds_dir: Path) -> None:
    """Fetches some sets; what a server does not give is told, and the others are fetched all the same.

    Raises:
      UserError: at least one could not be had.
    """
    failed: list[UserError] = []
    done: list[str] = []
    for name in names:
        folder = sets[name].folder(data_dir, tfds_dir)
        try:
            for file in sets[name].files:
                fetched = fetch(file, folder)
                print(f"{name:<5} {folder / file.name}{'' if fetched else ', which was there'}", flush=True)
            if sets[name].reader == "stanford":
                unpack(data_dir / f"{TREEBANK}.zip", TREEBANK_FILES, data_dir / TREEBANK)
                print(f"{name:<5} {data_dir / TREEBANK}{'/'}", flush=True)
            done.append(name)
        except InputError as error:
            failed.append(error)
            if len(names) > 1:
                print(f"warning: {name}: {error}", file=sys.stderr, flush=True)
    commands = next_commands(done, data_dir, tfds_dir, default_folder())
    if commands:
        print("\n" + "\n".join(["Next:", *(f"  {command}" for command in commands)]))
    if failed:
        missing = ", ".join(name for name in names if name not in done)
        raise failed[0] if len(names) == 1 else InputError(f"these could not be fetched: {missing}")


def main(args: Sequence[str], sets: Mapping[str, PublicSet] = PUBLIC) -> None:
    """Reads the command line and does what it says.

    Raises:
      UserError: it cannot be done.
    """
    flags = make_parser().parse_args(args)
    for name in flags.names:
        if name not in sets:
            raise InputError(f"{name!r} is no public data set{perhaps(name, sets)}; there are {', '.join(sets)}")
    names = list(dict.fromkeys(flags.names)) or list(sets)
    tfds_dir = flags.tfds_dir or default_folder()
    if flags.list:
        for name in names:
            print(f"{name:<5} {sets[name].about}, {sets[name].megabytes}")
            print("".join(f"      {file.url}\n" for file in sets[name].files), end="")
            print(f"      into {sets[name].folder(flags.data_dir, tfds_dir)}")
        print(f"\n{by_hand(flags.data_dir / 'cs224n')}")
        return
    download(sets, names, flags.data_dir, tfds_dir)
    if not flags.names:
        print(f"\n{by_hand(flags.data_dir / 'cs224n')}")


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    try:
        main(sys.argv[1:])
    except (UserError, KeyboardInterrupt) as stop:
        if "--debug" in sys.argv:
            traceback.print_exc()
        again = "interrupted; what has come is kept, and the same command goes on"
        problem = stop if isinstance(stop, UserError) else Interrupted(again)
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)
