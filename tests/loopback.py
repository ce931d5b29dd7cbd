"""A web server on this machine that does what servers do."""

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Iterator

from bert_jax.data.public import PublicFile

CONTENT = bytes(range(256)) * 2000


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT under any name; what it does wrong is said by its settings."""

    ranges = True
    breaks: int | None = None  # bytes after which an answer ends
    declares = True  # whether it says how long an answer is
    status = 200
    content = CONTENT

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []

    def file(self, name="data.bin", **changes) -> PublicFile:
        values = {"sha256": hashlib.sha256(self.content).hexdigest(), "size": len(self.content), **changes}
        return PublicFile(f"http://127.0.0.1:{self.server_port}/{name}", name, **values)


class Answer(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        wanted, server = self.headers.get("Range", ""), self.server
        server.asked.append(wanted)
        begin = int(wanted[len("bytes=") : -1]) if wanted and server.ranges else 0
        if server.status != 200:
            self.send_error(server.status)
            return
        if begin >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(server.content) - 1}/{len(server.content)}")
        body = server.content[begin:]
        if server.declares:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.breaks])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server, for as long as it is needed."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
