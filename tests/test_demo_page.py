"""The page to try a run on, in a browser without a window."""

import csv
import os
import shutil

import pytest

from tests.pages import PAIRS, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    page = Page(tmp_path_factory.mktemp("runs") / "separate")
    yield page
    page.close()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium (Debian: apt-get install chromium)")
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with driver.sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has none for root
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*sandbox, "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser, page):
    """A tab of a browser that reaches nothing but the page; what the page complains of fails the test."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.route(lambda url: f"127.0.0.1:{page.port}/" not in url, lambda route: complaints.append(route.request.url))
    tab = context.new_page()
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(f"http://127.0.0.1:{page.port}/")
    yield tab
    context.close()
    assert complaints == []


def test_a_browser_types_a_pair_and_reads_the_answers(tab, page):
    tab.get_by_role("textbox", name="Text", exact=True).fill(PAIRS[0][0])
    tab.get_by_label("Second text").fill(PAIRS[0][1])
    tab.keyboard.press("Control+Enter")
    tab.wait_for_selector("#readout:not(:empty)")
    answers = page.ask("/answers", {"texts": list(PAIRS[0])})[1]["answers"]
    shown = [card.inner_text() for card in tab.query_selector_all(".answer")]
    assert len(shown) == 4
    for text, answer in zip(shown, answers, strict=True):
        assert answer["task"] in text and answer["words"] in text and answer["of"] in text
        for each in answer["labels"]:
            assert f"{100 * each['probability']:.1f} %" in text
    before = tab.inner_text("#readout")
    tab.focus("#map")
    tab.keyboard.press("ArrowDown" if "“[SEP]” gives" not in before else "ArrowUp")
    assert tab.inner_text("#readout") != before
    first = tab.evaluate("document.querySelector('#map').toDataURL()")
    tab.select_option("#head", "2")
    tab.wait_for_function("before => document.querySelector('#map').toDataURL() !== before", arg=first)
    assert tab.evaluate("document.documentElement.scrollWidth") == 390  # nothing sticks out of a phone


def test_a_browser_pastes_lines_and_downloads_the_table(tab, page):
    lines = '<img src=x onerror="document.title=1"> , "x"\nA dog runs .\tA dog , running .'
    tab.fill("#lines", lines)
    tab.click("text=Answer all")
    tab.wait_for_selector("#table td")
    assert tab.query_selector("img") is None and tab.title() == "<i>mine</i> · try a run"
    assert tab.inner_text("#table tbody tr:first-child td:first-child") == lines.split("\n")[0]
    expected = page.ask("/table", {"lines": lines})[1]
    with tab.expect_download() as tsv:
        tab.click("text=Download TSV")
    rows = [line.split("\t") for line in tsv.value.path().read_text(encoding="utf-8").splitlines()]
    assert rows == [expected["columns"], *([str(cell) for cell in row] for row in expected["rows"])]
    with tab.expect_download() as csv_file:
        tab.click("text=Download CSV")
    with csv_file.value.path().open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == rows


def test_what_is_asked_before_the_run_is_known_is_answered_once_it_is(tab):
    tab.wait_for_function("() => document.title !== 'Try a run'")  # else what is held is the first visit's request
    held = []
    tab.route("**/run", lambda route: held.append(route))
    with tab.expect_request("**/run"):
        tab.reload()
    tab.fill("#first", "A dog runs .")
    tab.click("text=Answer >> nth=0")
    tab.wait_for_selector("#ask[aria-busy=true]")
    assert tab.title() == "Try a run" and tab.inner_text("#ask-error") == ""
    [request] = held
    request.continue_()
    tab.wait_for_selector(".answer")
    assert tab.title() == "<i>mine</i> · try a run" and tab.inner_text("#ask-error") == ""


def test_a_browser_is_told_what_is_wrong(tab, page):
    tab.click("text=Answer >> nth=0")
    tab.wait_for_selector("#ask-error:not(:empty)")
    assert tab.inner_text("#ask-error") == "The text is empty."
    tab.fill("#lines", "a\n\nb")
    tab.click("text=Answer all")
    tab.wait_for_selector("#paste-error:not(:empty)")
    assert tab.inner_text("#paste-error") == "Line 2 is empty."
