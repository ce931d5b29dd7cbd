"""The page to try a run on: what its server answers and what it refuses, and the command."""

import importlib.util
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import uvicorn

import eval.demo.__main__ as demo
from bert_jax.attention import attention_weights
from bert_jax.batches.packing import BatchShape, pack
from eval.demo.__main__ import DemoConfig, main
from eval.demo.live import Live
from eval.demo.server import LONGEST_BODY, LONGEST_PASTE, LONGEST_TEXT, MOST_LINES
from eval.predict import PredictConfig
from eval.predict import main as predict
from tests.pages import PAIRS, TEXTS, Page
from tests.test_commands import ROOT, assert_one_sentence, command


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    page = Page(tmp_path_factory.mktemp("runs") / "separate")
    yield page
    page.close()


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    page = Page(tmp_path_factory.mktemp("runs") / "joint", pair_encoding="joint", tasks="quora,sts")
    yield page
    page.close()


def predicted(monkeypatch, capsys, run_dir: Path, task: str, lines: list[str]) -> list[dict]:
    """What `eval.predict` prints."""
    stdin = types.SimpleNamespace(buffer=io.BytesIO("\n".join(lines).encode()), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    capsys.readouterr()
    predict(PredictConfig(run_dir=run_dir, task=task))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def assert_same(answer: dict, printed: dict) -> None:
    assert answer["label"] == printed["label"]
    assert answer["score"] == pytest.approx(printed["score"], abs=2e-5)


def test_answers_are_those_of_predict(page, joint, monkeypatch, capsys):
    for text, printed in zip(TEXTS, predicted(monkeypatch, capsys, page.run_dir, "sst", TEXTS), strict=True):
        status, found = page.ask("/answers", {"texts": [text]})
        assert status == 200 and [answer["task"] for answer in found["answers"]] == ["sst"]
        assert_same(found["answers"][0], printed)
    for server in (page, joint):
        for task in ("quora", "sts"):
            lines = predicted(monkeypatch, capsys, server.run_dir, task, ["\t".join(pair) for pair in PAIRS])
            for pair, printed in zip(PAIRS, lines, strict=True):
                answers = server.ask("/answers", {"texts": list(pair)})[1]["answers"]
                assert_same(next(answer for answer in answers if answer["task"] == task), printed)


def test_an_answer_says_every_label_in_words_with_its_probability(page):
    answers = page.ask("/answers", {"texts": list(PAIRS[0])})[1]["answers"]
    assert [(answer["of"], answer["task"]) for answer in answers] == [
        ("first text", "sst"), ("second text", "sst"), ("", "quora"), ("", "sts"),
    ]  # fmt: skip
    sst, _, quora, sts = answers
    words = ["very negative", "negative", "neutral", "positive", "very positive"]
    assert [each["words"] for each in sst["labels"]] == words and sst["words"] == words[sst["label"]]
    assert sum(each["probability"] for each in sst["labels"]) == pytest.approx(1, abs=1e-5)
    assert max(each["probability"] for each in sst["labels"]) == sst["score"]
    assert quora["labels"][1] == {"label": 1, "words": "a paraphrase", "probability": quora["score"]}
    assert sts["labels"] == [] and sts["highest"] == 5


def test_a_table_has_the_answers_of_predict_in_the_order_of_its_lines(page, monkeypatch, capsys):
    lines = [
        TEXTS[0],
        "\t".join(PAIRS[0]),
        *TEXTS[1:],
        "\t".join(PAIRS[1]),
        *(f"Text {number}" for number in range(40)),
    ]
    status, found = page.ask("/table", {"lines": "\r\n".join(lines) + "\n"})
    assert status == 200
    assert found["columns"][:5] == ["text", "second text", "sst label", "sst words", "sst score"]
    assert ["\t".join(filter(None, row[:2])) for row in found["rows"]] == lines
    single = [line for line in lines if "\t" not in line]
    printed = iter(predicted(monkeypatch, capsys, page.run_dir, "sst", single))
    for row in found["rows"]:
        if row[1]:
            assert row[2:5] == ["", "", ""] and row[5] in (0, 1)
        else:
            assert_same({"label": row[2], "score": row[4]}, next(printed))
            assert row[5:] == [""] * 6


def test_attention_is_that_of_the_encoder(page):
    found = page.ask("/attention", {"texts": list(PAIRS[0]), "which": 1, "layer": 1, "head": 0})[1]
    words = page.live.tokenizer.tokens(PAIRS[0][1])
    assert found["tokens"] == ["[CLS]", *words, "[SEP]"]
    encoded = page.live.encode([(PAIRS[0][1],)])
    batch = pack(encoded, np.array([0]), BatchShape(1, 40), 1)
    size = len(found["tokens"])
    weights = np.asarray(attention_weights(page.live.model, page.live.params, batch))[1, 0, 0, :size, :size]
    np.testing.assert_allclose(found["weights"], weights, atol=1e-4)


def test_a_pair_that_is_read_as_one_text_has_one_picture(joint):
    found = joint.ask("/attention", {"texts": list(PAIRS[0]), "which": 0, "layer": 0, "head": 1})[1]
    assert found["tokens"].count("[SEP]") == 2 and len(found["weights"]) == len(found["tokens"])
    said = {"texts": list(PAIRS[0]), "which": 1, "layer": 0, "head": 1}
    assert joint.refusal("/attention", said) == "which is 0, as there is one"


def test_nothing_is_compiled_for_a_request(page):
    page.live.warm_up()
    before = page.programs.parallel.compilations
    for texts in [["a b"], ["word " * 300], list(PAIRS[0]), list(PAIRS[1])]:
        page.ask("/answers", {"texts": texts})
        page.ask("/attention", {"texts": texts, "which": 0, "layer": 0, "head": 0})
    page.ask("/table", {"lines": "\n".join(f"number {n}" + "\tb" * (n % 2) for n in range(50))})
    assert page.programs.parallel.compilations == before == 6
    assert page.live._attend._cache_size() == 2


def test_requests_at_the_same_time_each_get_their_own_answer(page):
    alone = [page.ask("/answers", {"texts": [text]})[1] for text in TEXTS]
    found: list[list] = [[] for _ in TEXTS]

    def ask(number: int) -> None:
        found[number] = [page.ask("/answers", {"texts": [TEXTS[number]]})[1] for _ in range(5)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(TEXTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[each] * 5 for each in alone]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"texts": ["  "]}, "the text is empty"),
        ({"texts": ["", "b"]}, "the first text is empty"),
        ({"texts": ["a", "\n"]}, "the second text is empty"),
        ({"texts": ["x" * (LONGEST_TEXT + 1)]}, "the text has 2,001 characters, but 2,000 are the most"),
        ({"texts": []}, "texts is a list of one text or of two"),
        ({"texts": [1]}, "the text is not a string"),
        ({"texts": ["\ud800"]}, "the text has half a character (a lone surrogate), which no text has"),
        ({}, "texts is a list of one text or of two"),
    ],
)
def test_a_text_that_cannot_be_answered_is_refused_in_words(page, said, sentence):
    assert page.refusal("/answers", said) == sentence


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("", "there are no lines; paste one text a line, or two with a tab between them"),
        ("a\n\nb", "line 2 is empty"),
        ("a\tb\n\tb", "the first column of line 2 is empty"),
        ("a\tb\tc", "line 1 has 3 columns, but a text has one and a pair two"),
        ("a\n" * (MOST_LINES + 1), "there are 201 lines, but 200 are the most"),
        (("x" * 999 + "\n") * 21, "the lines have 21,000 characters, but 20,000 are the most"),
        ("y\n" + "x" * (LONGEST_TEXT + 1), "line 2 has 2,001 characters, but 2,000 are the most"),
    ],
)
def test_lines_that_cannot_be_answered_are_refused_in_words(page, lines, sentence):
    assert page.refusal("/table", {"lines": lines}) == sentence
    assert page.ask("/table", {"lines": "a" * LONGEST_TEXT})[0] == 200 and LONGEST_PASTE > LONGEST_TEXT


def test_a_run_that_compares_texts_asks_for_a_second_one(joint):
    wanted = "the tasks of this run compare two texts; type a second one"
    assert joint.refusal("/answers", {"texts": ["alone"]}) == wanted
    refused = joint.refusal("/table", {"lines": "a\tb\nalone"})
    assert refused == "line 2 has one column, but no task of this run takes one text alone; a tab parts two"


def test_what_is_no_request_of_the_page_is_refused(page):
    json_type = {"content_type": "application/json"}
    assert page.request("POST", "/answers", b"{", **json_type)[0] == 400
    assert page.request("POST", "/answers", b"[]", **json_type)[0] == 400
    assert page.request("POST", "/answers", b"[" * 100_000, **json_type)[0] == 400
    assert page.request("POST", "/answers", b" " * (LONGEST_BODY + 1), **json_type)[0] == 413
    assert page.request("POST", "/answers", b'{"texts": ["a"]}', content_type="text/plain")[0] == 415
    assert page.request("GET", "/answers")[0] == 405
    assert page.request("GET", "/../demo.py")[0] == page.request("GET", "/page.py")[0] == 404
    assert page.request("GET", "/", host="evil.example")[0] == 403
    assert page.request("GET", "/", host=f"localhost:{page.port}")[0] == 200


def test_the_page_needs_nothing_but_itself(page):
    for path in ("/", "/page.css", "/page.js"):
        status, body, headers = page.request("GET", path)
        assert status == 200 and b"//" not in body.replace(b"// ", b"").replace(b"(//", b""), path
        assert b"innerHTML" not in body and "default-src 'none'" in headers["content-security-policy"]


def test_the_command_serves_until_it_is_interrupted(page):
    flags = [sys.executable, "-m", "eval.demo", f"--run_dir={page.run_dir}", "--port=0"]
    with subprocess.Popen(flags, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            ready = re.fullmatch(r"ready: http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)\n", process.stdout.readline())
            assert ready, process.stderr.read()
            taken = command("eval.demo", f"--run_dir={page.run_dir}", f"--port={ready[1]}")
            assert_one_sentence(taken, 2, f"--port={ready[1]}", "--port=0 takes one that is free")
            with socket.create_connection(("127.0.0.1", int(ready[1]))) as open_connection:
                open_connection.sendall(b"GET /run HTTP/1.1\r\nhost: localhost\r\n\r\n")
                assert open_connection.recv(10_000).startswith(b"HTTP/1.1 200")
                process.send_signal(signal.SIGINT)
                assert process.stdout.read() == "ended\n"
            assert process.wait(timeout=30) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_what_cannot_be_served_is_said_in_one_sentence(page, tmp_path, monkeypatch):
    run = f"--run_dir={page.run_dir}"
    assert_one_sentence(command("eval.demo", f"--run_dir={tmp_path}"), 2, "is no run")
    assert_one_sentence(command("eval.demo", run, "--port=70000"), 2, "--port=70000, but it lies between 0 and 65535")
    assert_one_sentence(command("eval.demo", run, "--host=no such host"), 2, "is no address of this machine")
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "uvicorn" else importlib.util.find_spec(name))
    with pytest.raises(demo.InputError, match="the page needs uvicorn: pip install uvicorn"):
        main(DemoConfig(run_dir=page.run_dir))


def test_other_machines_are_let_in_only_with_a_warning(page, monkeypatch, capsys):
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr(Live, "warm_up", lambda self: None)
    main(DemoConfig(run_dir=page.run_dir, port=0, host="0.0.0.0"))
    assert "warning: --host=0.0.0.0 serves the page to other machines" in capsys.readouterr().err
    main(DemoConfig(run_dir=page.run_dir, port=0))
    assert "warning" not in capsys.readouterr().err
