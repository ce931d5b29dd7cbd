"""One of several processes, and a second one that watches over it and says in words how it ended.

When a process of a run is lost, JAX ends the others from within, by an abort that Python cannot catch, with a page of
C++ on stderr. So the command starts itself once more: that worker trains, and what its C++ libraries write goes here.
"""

import collections
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator

from bert_jax.cli.command import as_user_error
from bert_jax.cli.interrupt import Interrupt
from bert_jax.errors import DivergedError, InputError, Interrupted, LostError, UserError

WORKER = "BERT_JAX_WORKER"  # in a worker's environment: its stdout, its stderr, and a pipe that its supervisor holds
ENDED_BY_JAX = "Terminating process because the JAX distributed service detected fatal errors"
TO_ONE_ANOTHER = (Interrupted, DivergedError)  # all processes come to these at the same update


def is_worker() -> bool:
    """Whether this process has a supervisor."""
    return WORKER in os.environ


def supervise(coordinator: str, timeout: int, debug: bool) -> int:
    """Runs this same command as a worker, hands it the signals that come here, and returns its exit code.

    Args:
      timeout: seconds, as `--process_timeout`; for the sentence.
      debug: whether what its C++ libraries write is shown as it comes.

    Raises:
      InputError: the processes did not find together.
      LostError: the worker was ended because another process is lost, or was killed itself.
    """
    held, lifeline = os.pipe()  # it ends with this process, however that ends
    reading, noise = os.pipe()
    passed = (os.dup(1), os.dup(2), held)
    said: collections.deque[str] = collections.deque(maxlen=200)

    def listen() -> None:
        with open(reading, errors="replace") as lines:  # noqa: PTH123, a descriptor
            for line in lines:
                said.append(line)
                if debug:
                    sys.stderr.write(line)

    worker = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, WORKER: ",".join(map(str, passed))},
        stdout=noise,
        stderr=noise,
        pass_fds=passed,
        start_new_session=True,  # a terminal's Ctrl-C comes here alone, and is handed on once
    )
    for descriptor in (noise, *passed):
        os.close(descriptor)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    before = {number: signal.signal(number, lambda n, _: worker.send_signal(n)) for number in Interrupt.SIGNALS}
    try:
        code = worker.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(lifeline)
    listener.join(timeout=1)
    words = "".join(said)
    if code < 0 or (code == 1 and ENDED_BY_JAX in words):
        raise explain(code, words, coordinator, timeout)
    return code


def explain(code: int, said: str, coordinator: str, timeout: int) -> UserError:
    """Why a worker was ended by a signal or by JAX, from what JAX's coordination service said last.

    Args:
      code: with which it ended; that of a signal is negative. JAX has 1 up to version 0.7, and SIGABRT later.
      said: the last lines of its C++ libraries.
    """
    if "Failed to add port to server" in said:  # after which JAX may go on to a segmentation fault
        return port_taken(coordinator)
    if code < 0 and -code != signal.SIGABRT:
        name = signal.Signals(-code).name
        return LostError(f"this process was ended by {name}, as it is when memory runs out; the same command goes on")
    on = "the same command, for each process, goes on from the last checkpoint"
    if "CoordinationService/RegisterTask" in said:
        return InputError(
            f"the processes of --coordinator={coordinator} did not find together within {timeout} s "
            "(--process_timeout): is each of them started, and does each have another --process_id?"
        )
    listed = re.findall(r"stopped sending heartbeats\):\n((?:\d+\n)+)", said)
    tasks = sorted({int(task) for task in [*re.findall(r"/task:(\d+)", said), *" ".join(listed).split()]})
    if not tasks and ("Failed to send RPC" in said or "CoordinationService/Heartbeat" in said):
        return LostError(f"process 0, at {coordinator}, is lost or stuck; {on}")
    if tasks:
        which = f"process {tasks[0]} is" if len(tasks) == 1 else f"processes {', '.join(map(str, tasks))} are"
        return LostError(f"{which} lost or stuck: nothing was heard for {timeout} s (--process_timeout); {on}")
    return LostError(f"JAX ended this process: {said.strip().splitlines()[-1] if said.strip() else 'without a word'}")


def port_taken(coordinator: str) -> InputError:
    """Why process 0 cannot listen."""
    return InputError(f"--coordinator={coordinator}: process 0 cannot listen there; is the port in use?")


@contextlib.contextmanager
def working(timeout: int) -> Iterator[None]:
    """What a worker does, with the stdout and stderr of its supervisor, and for as long as that lives.

    An error that is not every process's ends this one at once. If a collective breaks, another process is lost; JAX
    learns within `timeout` seconds which one, and ends this process.
    """
    out, err, held = map(int, os.environ[WORKER].split(","))
    sys.stdout, sys.stderr = open(out, "w", buffering=1), open(err, "w", buffering=1)  # noqa: PTH123, SIM115
    threading.Thread(target=_end_with, args=(held,), daemon=True).start()
    try:
        yield
    except TO_ONE_ANOTHER:
        raise
    except Exception as error:
        known = error if isinstance(error, UserError) else as_user_error(error, trains=True)
        if known is None:
            if isinstance(error, RuntimeError):
                time.sleep(2 * timeout)
            traceback.print_exc()
            os._exit(1)
        print(f"error: {known}", file=sys.stderr, flush=True)
        os._exit(known.exit_code)  # else JAX would wait for the others, who do not come


def _end_with(held: int) -> None:
    os.read(held, 1)
    os._exit(LostError.exit_code)
