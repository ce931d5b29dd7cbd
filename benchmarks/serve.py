"""The worker's end of the pipe: requests in, answers out, one JSON object a line. Nothing but Python's own library."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any


def serve(commands: Mapping[str, Callable[..., Any]]) -> None:
    """Answers {"do": NAME, ...arguments} with what the command of that name returns, until stdin ends.

    An exception ends the process: its last line on stderr is what the other end reports.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints must not stand among the answers
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(commands[request.pop("do")](**request)), file=answers, flush=True)
