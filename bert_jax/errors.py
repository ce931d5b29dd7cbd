"""Errors that are the user's to mend. Each is one sentence; a program prints it and exits with its code."""

import contextlib
import difflib
import reprlib
from collections.abc import Iterable, Iterator

_SHORT = reprlib.Repr()
_SHORT.maxstring = 100


class UserError(Exception):
    """Something outside the program is wrong. The message names the place, the value got and the value wanted."""

    exit_code = 2

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows of the error: IPython asks for it in place of a traceback."""
        return [f"error: {self}"]


class InputError(UserError):
    """A flag, a table or a text that cannot be used."""


class WeightsError(UserError):
    """Weights, a vocabulary or a checkpoint that cannot be used."""

    exit_code = 3


class DivergedError(UserError):
    """Several updates in a row gave no finite loss or gradient."""

    exit_code = 4


class StorageError(UserError):
    """The disk or the memory does not allow it."""

    exit_code = 5


class InUseError(UserError):
    """Another process works in the run's folder."""

    exit_code = 6


class LostError(UserError):
    """Another process of the same run has gone, or no longer answers."""

    exit_code = 7


class Interrupted(UserError):
    """A signal stopped the program; what a run had is saved, and the same command goes on."""

    exit_code = 75


@contextlib.contextmanager
def refused(error: type[UserError], what: str) -> Iterator[None]:
    """Raises what the system says of a file inside as an error of ours: `what`, a colon, and the reason."""
    try:
        yield
    except OSError as reason:
        raise error(f"{what}: {reason.strerror}") from None


def counted(count: int, noun: str) -> str:
    """So many of something.

    >>> counted(1, "text"), counted(1200, "text")
    ('1 text', '1,200 texts')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def perhaps(name: str, known: Iterable[str], form: str = "{}") -> str:
    """The known name that is most like an unknown one, as an error adds it; nothing if none is.

    Args:
      form: how a name is written.

    >>> perhaps("quara", ["sst", "quora"])
    ' (perhaps you meant quora)'
    >>> perhaps("epoch", ["epochs"], "--{}")
    ' (perhaps you meant --epochs)'
    >>> perhaps("weather", ["sst", "quora"])
    ''
    """
    found = difflib.get_close_matches(name, known, n=1)
    return f" (perhaps you meant {form.format(found[0])})" if found else ""


def quote(value: object) -> str:
    """A value out of a file as an error may print it: on one line, and not too long.

    >>> quote("two" + chr(10) + "lines")
    "'two\\\\nlines'"
    """
    return _SHORT.repr(value)
