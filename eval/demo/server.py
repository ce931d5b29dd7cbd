"""The page's server: what comes in is checked, what goes out is JSON. It knows no JAX and no run."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bert_jax.errors import InputError
from bert_jax.tasks import Task
from eval.answers import in_words

PAGE = Path(__file__).parent / "web"
LONGEST_TEXT = 2_000  # characters
LONGEST_PASTE = 20_000  # characters of many texts
MOST_LINES = 200
LONGEST_BODY = 200_000  # bytes of a request
CELLS = ("label", "words", "score")  # of an answer in the table
LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

Answer = Callable[[dict[str, Any]], dict[str, Any]]  # what a request says -> what is answered


class Model(Protocol):
    """What the server asks of `eval.demo.live.Live`."""

    tasks: Mapping[int, Sequence[Task]]

    def answer(self, texts: Sequence[tuple[str, ...]]) -> tuple[dict[Task, np.ndarray], int]: ...

    def attention(self, texts: tuple[str, ...], which: int) -> tuple[list[str], np.ndarray]: ...


def make_app(model: Model, about: Mapping[str, Any], local: bool) -> ASGIApp:
    """The page and what it asks: answers to a text or a pair, its attention, and a table of many texts.

    Args:
      about: what the page says of the run; `layers`, `heads` and `joint` among it.
      local: whether requests must be meant for this machine by name, so that no other site's name can stand for it.
    """
    limits = {"text": LONGEST_TEXT, "paste": LONGEST_PASTE, "lines": MOST_LINES}
    tasks = {name: [task.name for task in model.tasks[width]] for name, width in (("single", 1), ("pair", 2))}
    files = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
    routes = [
        *(Route(path, _file(name)) for path, name in files.items()),
        Route("/run", lambda _: JSONResponse({**about, **tasks, "limits": limits})),
        Route("/answers", _endpoint(lambda said: answers(model, said)), methods=["POST"]),
        Route("/attention", _endpoint(lambda said: attention(model, about, said)), methods=["POST"]),
        Route("/table", _endpoint(lambda said: table(model, said)), methods=["POST"]),
    ]
    return _guard(Starlette(routes=routes), LOCAL_NAMES if local else None)


def answers(model: Model, said: Mapping[str, Any]) -> dict[str, Any]:
    """Every task's answer to {"texts": [one or two]}; tasks on single texts answer for each of two.

    Raises:
      InputError: what is wrong with the texts.
    """
    texts = read_texts(said)
    if len(texts) == 1 and not model.tasks[1]:
        raise InputError("the tasks of this run compare two texts; type a second one")
    asked = [("", texts)] if len(texts) == 1 else [("first text", texts[:1]), ("second text", texts[1:]), ("", texts)]
    found, cut = [], 0
    for of, each in asked:
        if model.tasks[len(each)]:
            outputs, truncated = model.answer([each])
            cut = max(cut, truncated)
            found += [{"of": of, **in_words(task, output[0])} for task, output in outputs.items()]
    return {"answers": found, "cut": cut}


def attention(model: Model, about: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens of {"texts", "which", "layer", "head"}, each from 0, and what they attend to, [query][key].

    Raises:
      InputError: what is wrong with the texts or the numbers.
    """
    texts = read_texts(said)
    limits = {"which": 1 if about["joint"] else len(texts), "layer": about["layers"], "head": about["heads"]}
    for name, limit in limits.items():
        if type(said.get(name)) is not int or not 0 <= said[name] < limit:
            wanted = f"a whole number from 0 to {limit - 1}" if limit > 1 else "0, as there is one"
            raise InputError(f"{name} is {wanted}")
    tokens, weights = model.attention(texts, said["which"])
    return {"tokens": tokens, "weights": np.round(weights[said["layer"], said["head"]].astype(float), 4).tolist()}


def table(model: Model, said: Mapping[str, Any]) -> dict[str, Any]:
    """Answer {"lines"}: one text a line, or two with a tab between them; a row of cells for each.

    Raises:
      InputError: what is wrong with the lines, and with which.
    """
    lines = read_lines(said)
    columns, cut = ["text", "second text"][: max(map(len, lines))], 0
    rows: list[list[Any]] = [[*line, *[""] * (len(columns) - len(line))] for line in lines]
    for width in sorted(set(map(len, lines))):
        numbers = [number for number, line in enumerate(lines) if len(line) == width]
        if not model.tasks[width]:
            wrong = ("one column, but no task of this run takes one text alone; a tab parts two",
                     "two columns, but no task of this run compares two texts")[width - 1]  # fmt: skip
            raise InputError(f"line {numbers[0] + 1} has {wrong}")
        outputs, truncated = model.answer([lines[number] for number in numbers])
        cut += truncated
        for task, output in outputs.items():
            columns += [f"{task.name} {what}" for what in CELLS]
            found = {number: in_words(task, each) for number, each in zip(numbers, output, strict=True)}
            for number, row in enumerate(rows):  # the task takes no others than those of this width
                row += [found[number][what] if number in found else "" for what in CELLS]
    return {"columns": columns, "rows": rows, "cut": cut}


def read_texts(said: Mapping[str, Any]) -> tuple[str, ...]:
    """The one or two texts of a request.

    Raises:
      InputError: there are none, one is empty, too long or no text, or the second is there without the first.
    """
    texts = said.get("texts")
    if not isinstance(texts, list) or not 1 <= len(texts) <= 2:
        raise InputError("texts is a list of one text or of two")
    names = ("the text", "") if len(texts) == 1 else ("the first text", "the second text")
    for name, text in zip(names, texts, strict=False):
        check_text(name, text)
    return tuple(texts)


def read_lines(said: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The columns of each line of a request.

    Raises:
      InputError: there are none or too many, or one is empty, too long, or has more than two columns.
    """
    pasted = said.get("lines")
    if not isinstance(pasted, str) or not pasted.strip():
        raise InputError("there are no lines; paste one text a line, or two with a tab between them")
    if len(pasted) > LONGEST_PASTE:
        raise InputError(f"the lines have {len(pasted):,} characters, but {LONGEST_PASTE:,} are the most")
    lines = [tuple(line.removesuffix("\r").split("\t")) for line in pasted.rstrip("\r\n").split("\n")]
    if len(lines) > MOST_LINES:
        raise InputError(f"there are {len(lines):,} lines, but {MOST_LINES} are the most")
    for number, line in enumerate(lines, start=1):
        if len(line) > 2:
            raise InputError(f"line {number} has {len(line)} columns, but a text has one and a pair two")
        names = ("",) if len(line) == 1 else ("the first column of ", "the second column of ")
        for name, text in zip(names, line, strict=True):
            check_text(f"{name}line {number}", text)
    return lines


def check_text(name: str, text: object) -> None:
    """Raises InputError unless it is a text that has words in it and is not too long."""
    if not isinstance(text, str):
        raise InputError(f"{name} is not a string")
    if not text.strip():
        raise InputError(f"{name} is empty")
    if len(text) > LONGEST_TEXT:
        raise InputError(f"{name} has {len(text):,} characters, but {LONGEST_TEXT:,} are the most")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{name} has half a character (a lone surrogate), which no text has")


def _file(name: str) -> Callable[[Request], Response]:
    return lambda _: FileResponse(PAGE / name)


def _endpoint(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Reads a JSON object of bounded size, and answers in another thread; a user's mistake is one sentence."""

    async def endpoint(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _error(415, "a request is JSON")  # no other site's form can send that
        body = b""
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > LONGEST_BODY:
                    return _error(413, f"the request is longer than {LONGEST_BODY:,} bytes")
        except ClientDisconnect:
            return _error(400, "the request was cut off")
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            return _error(400, "the request is no JSON")
        if not isinstance(said, dict):
            return _error(400, "the request is no JSON object")
        try:
            return JSONResponse(await run_in_threadpool(answer, said))
        except InputError as error:
            return _error(422, str(error))

    return endpoint


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def _guard(app: ASGIApp, names: set[str] | None) -> ASGIApp:
    """Refuse requests that are meant for another host, and say with each answer what the page may do."""
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        host = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1")
        refused = names is not None and host_name(host) not in names
        answer = PlainTextResponse("this page is served to this machine alone", 403) if refused else app
        await answer(scope, receive, with_headers)

    return guarded


def host_name(host: str) -> str:
    """The name in a Host header, without the port.

    >>> host_name("localhost:8765"), host_name("[::1]:8765"), host_name("EVIL.example")
    ('localhost', '[::1]', 'evil.example')
    """
    bracket = host.find("]")
    return (host[: bracket + 1] if bracket >= 0 else host.partition(":")[0]).lower()
