"""Our end of the pipe: a process that does one side's work, so that the two frameworks' threads never meet."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError, quote

ROOT = Path(__file__).parent.parent


class Worker:
    """`PYTHON -m MODULE`, asked for one thing after the other. While it is not asked it waits on its pipe.

    Used in a `with` block, at whose end it is gone, whatever it was doing.
    """

    def __init__(self, python: str, module: str, environment: Mapping[str, str]):
        """Starts it in a session of its own: Ctrl-C is for us alone, and we end it.

        Raises:
          UserError: there is no such Python.
        """
        self.name = f"{python} -m {module}"
        # A file, as a pipe that nobody reads would fill up.
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [python, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                cwd=ROOT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except OSError as error:
            self._said.close()
            raise UserError(f"{self.name} cannot be started: {error.strerror}") from None

    @property
    def process_id(self) -> int:
        """The process's number, which is also that of its group."""
        return self._process.pid

    def ask(self, do: str, **arguments: Any) -> Any:
        """The answer to one request.

        Raises:
          UserError: the process ended instead; how, and the last that it said.
        """
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise self._ended(do)
        try:
            return json.loads(line)
        except ValueError:
            raise UserError(f"{self.name} answered {quote(line)} when asked to {do}") from None

    def _ended(self, do: str) -> UserError:
        code = self._process.wait()
        self._said.seek(0)
        said = self._said.read().strip()
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        last = f": {said.splitlines()[-1]}" if said else ""
        error = UserError(f"{self.name} ended with {how} when asked to {do}{last}")
        error.__cause__ = RuntimeError(said)  # all of it, for --debug
        return error

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process_id, signal.SIGKILL)  # it has nothing to save, and may have started others
        self._process.wait()
        for file in (self._process.stdout, self._said):
            file.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
