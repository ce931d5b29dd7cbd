"""What every command does alike: read its flags, run, and turn a user's mistake into one sentence and an exit code."""

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from bert_jax.cli.environment import keep_compiled_programs, restart_with_huge_pages
from bert_jax.cli.flags import parse_flags
from bert_jax.errors import InputError, StorageError, UserError

Config = TypeVar("Config")


def run_command(
    config_class: type[Config],
    run: Callable[[Config], object],
    module: str,
    *,
    translate: Callable[[Sequence[str]], list[str]] = list,
    start: Callable[[Mapping[str, Any]], Config] | None = None,
    trains: bool = False,
) -> None:
    """Runs `python -m MODULE` with the flags of this process, and exits with the code of the error if there is one.

    `--debug` among the flags shows where in the program the error came up.

    Args:
      translate: flags in other words -> flags as they are called here.
      start: as in `parse_flags`.
      trains: whether it works so long that huge pages are worth starting again for.
    """
    open_standard_streams()
    given = sys.argv[1:]
    flags = [flag for flag in given if flag != "--debug" and not (trains and flag == "--no-hugepages")]
    try:
        config = parse_flags(config_class, module, translate(flags), start, trains)
        if trains and "--no-hugepages" not in given:
            restart_with_huge_pages()
        keep_compiled_programs()
        run(config)
        sys.stdout.flush()  # here, where a full disk can still be reported
    except UserError as error:
        if "--debug" in given:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr, flush=True)
        if isinstance(error, StorageError):
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(error.exit_code)  # threads that wrote when the disk filled up would go on complaining
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        known = as_user_error(error, trains)
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        if isinstance(error, OSError):  # what stdout still holds could not be written either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(known.exit_code)


def as_user_error(error: Exception, trains: bool) -> UserError | None:
    """What Python, the system or XLA says of something outside the program, as an error of ours; None of all else."""
    if isinstance(error, OSError):
        if error.errno == errno.ENAMETOOLONG and error.filename:
            return InputError(f"{error.filename} is too long for a name")
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return StorageError(f"the output cannot be written: {error.strerror}")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)):
        less = "a larger --accumulate or a smaller --batch_size" if trains else "a smaller --batch_size"
        return StorageError(f"there is not enough memory; {less} needs less")
    return None


def open_standard_streams() -> None:
    """Those that whoever started us has closed: nothing comes from them, and what goes there is lost."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  open as long as the process lives


def read_stdin() -> list[str]:
    """The lines of standard input.

    Raises:
      InputError: there are none, or they are not UTF-8.
    """
    if sys.stdin.isatty():
        print("type texts, one a line; end with Ctrl-D", file=sys.stderr)
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"stdin is not UTF-8: {error.reason} at byte {error.start}") from None
    if not text:
        raise InputError("there is no text on stdin; it takes one text a line, or two with a tab between them")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
