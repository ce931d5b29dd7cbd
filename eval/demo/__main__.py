"""`python -m eval.demo --run_dir=R`: a page to try a run on: texts of one's own, all tasks' answers, and attention."""

import contextlib
import dataclasses
import ipaddress
import socket
import sys
import time
from importlib.util import find_spec
from typing import Any

from bert_jax.cli.command import run_command
from bert_jax.errors import InputError
from eval.flags import OfRun

QUIET: dict[str, Any] = {"lifespan": "off", "log_level": "warning", "access_log": False, "server_header": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoConfig(OfRun):
    """Serves a page to try a run on: all tasks' answers to a text or a pair, the attention behind them, and a table
    of many texts. It is served to this machine alone. Ctrl-C ends it.
    """

    port: int = 8765
    """Where the page is served; 0 for any port that is free."""
    host: str = "127.0.0.1"
    """Address that it is served on. Any but a loopback one lets other machines use the page, without a password."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for requests, so that a port that is taken is known at once.

    Raises:
      InputError: there is no such address here, or the port is in use or not for everybody.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port={port}, but it lies between 0 and 65535")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise InputError(f"--host={host} is no address of this machine") from None
    listening = socket.socket(family, kind)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except PermissionError:
        raise InputError(f"--port={port} is not for everybody; one above 1023 is") from None
    except OSError as error:
        listening.close()
        wanted = "--port=0 takes one that is free" if "in use" in str(error.strerror) else "--host=127.0.0.1 is one"
        raise InputError(f"--host={host} --port={port} cannot be served: {error.strerror}; {wanted}") from None
    return listening


def main(flags: DemoConfig) -> None:
    """Check the run and take the port before JAX is imported."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise InputError(f"the page needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    run = flags.open()
    run.check_labels()
    with listen(flags.host, flags.port) as listening:
        address, port = listening.getsockname()[:2]
        local = ipaddress.ip_address(address).is_loopback
        if not local:
            warning = f"warning: --host={flags.host} serves the page to other machines as well, without a password"
            print(warning, file=sys.stderr, flush=True)
        started = time.monotonic()

        import uvicorn

        from eval.demo.live import Live
        from eval.demo.server import make_app

        live = Live(run.restored)
        live.warm_up()
        about = {
            "run": flags.run_dir.resolve().name,
            "checkpoint": f"{flags.checkpoint} checkpoint, after update {run.step}",
            "layers": run.model.bert.num_hidden_layers,
            "heads": run.model.bert.num_attention_heads,
            "joint": run.model.pair_encoding == "joint",
        }
        seconds = time.monotonic() - started
        shown = f"[{address}]" if ":" in address else address
        compiled = live.run.programs.parallel.compilations
        print(f"{compiled} programs compiled or loaded in {seconds:.0f} s", file=sys.stderr)
        print(f"ready: http://{shown}:{port}/ (Ctrl-C ends it)", flush=True)
        app = make_app(live, about, local)
        settings = uvicorn.Config(app, limit_concurrency=32, timeout_graceful_shutdown=2, **QUIET)
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn ends what it is at, and passes the signal on
            uvicorn.Server(settings).run(sockets=[listening])
    print("ended")


if __name__ == "__main__":
    run_command(DemoConfig, main, "eval.demo")
