"""A server of the page to try a run on, in this process, and what is asked of it."""

import http.client
import json
import threading
from pathlib import Path

import uvicorn

from eval.demo.__main__ import listen
from eval.demo.live import Live
from eval.demo.server import make_app
from tests.builders import begin
from train.config import TrainConfig
from train.devices.programs import Programs
from train.runs.finished import restore_run

TEXTS = ["The film is superb .", "A dull , lifeless story .", "One. " * 60, 'quoted "words" , <b>bold</b>']
PAIRS = [("How do I save money ?", "What is the best way to spend less ?"), ("A dog runs .", "A cat sleeps . " * 20)]


class Page:
    """A server in this process, of a run with random weights."""

    def __init__(self, run_dir: Path, **settings):
        begin(TrainConfig(run_dir=run_dir, **settings))
        self.run_dir, self.programs = run_dir, Programs(1)
        run = restore_run(run_dir, "best", self.programs)
        self.live = Live(run)
        about = {"run": "<i>mine</i>", "checkpoint": "best", "layers": 2, "heads": 2}
        about["joint"] = run.model.pair_encoding == "joint"
        self.socket = listen("127.0.0.1", 0)
        self.port = self.socket.getsockname()[1]
        config = uvicorn.Config(make_app(self.live, about, local=True), lifespan="off", log_level="error")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()

    def request(self, method: str, path: str, body: bytes | None = None, **headers) -> tuple[int, bytes, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())
        finally:
            connection.close()

    def ask(self, path: str, said: object) -> tuple[int, dict]:
        status, body, _ = self.request("POST", path, json.dumps(said).encode(), content_type="application/json")
        return status, json.loads(body)

    def refusal(self, path: str, said: object) -> str:
        status, found = self.ask(path, said)
        assert status == 422, (status, found)
        return found["error"]
