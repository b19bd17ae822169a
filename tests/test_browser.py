"""The report in a real browser: it draws, says nothing on the console and asks no network."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
import warnings
from itertools import count
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="the page needs Jinja2")
pytest.importorskip("matplotlib", reason="the pictures need Matplotlib")

from posthoc_align import LanguageCentering
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.report import Report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking "
    "--disable-component-update --disable-sync --no-first-run --remote-debugging-pipe"
)
PATIENCE = 60.0  # seconds; a start takes one or two, more on a busy machine


class Browser:
    """Headless Chromium, spoken to over two pipes in its DevTools protocol: JSON ended by NUL."""

    def __init__(self, profile):
        to_read, self._writes = os.pipe()
        self._reads, to_write = os.pipe()
        command = f"exec {CHROMIUM} {QUIET} --user-data-dir='{profile}' 3<&{to_read} 4>&{to_write}"
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._numbers, self._buffer, self.events = count(1), b"", []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for part in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{part}.enable")

    _session = None

    def call(self, method, **parameters):
        """Ask for something and wait for the answer; events that come first are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = self._next(deadline)
            if answer and answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
        raise TimeoutError(f"Chromium did not answer {method} within {PATIENCE} s")

    def open(self, path):
        """Load a file, and give what it starts a moment to show."""
        self.events.clear()
        self.call("Page.navigate", url=Path(path).as_uri())
        deadline = time.monotonic() + PATIENCE
        while not self._seen("Page.loadEventFired") and time.monotonic() < deadline:
            self._next(deadline)
        assert self._seen("Page.loadEventFired"), "the page did not load"
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            self._next(deadline)

    def errors(self):
        """Everything written to the console or its log, and exceptions."""
        return [
            json.dumps(e["params"])
            for method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
            for e in self._seen(method)
        ]

    def requests(self):
        """Addresses that were asked for outside the file and what it holds."""
        asked = [e["params"]["request"]["url"] for e in self._seen("Network.requestWillBeSent")]
        return [address for address in asked if not address.startswith(("file:", "data:"))]

    def value(self, expression):
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"]["value"]

    def screenshot(self, width=1280):
        """The whole page as PNG."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def close(self):
        os.close(self._writes)  # Chromium ends when its pipe does
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._reads)

    def _seen(self, method):
        return [event for event in self.events if event.get("method") == method]

    def _next(self, deadline):
        """The next message, or None when time is up."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._reads], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                return None
            part = os.read(self._reads, 1 << 16)
            assert part, "Chromium ended"
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report on a part of the bundled data, with two layers: all its parts are there."""
    corpus = load_parallel_topics(languages=["en", "fr", "sw"])
    few = np.flatnonzero(np.isin(corpus.pair_id, np.unique(corpus.pair_id)[::6]))
    X = corpus.embeddings[few].astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few rows have their warnings; the page says them
        report = Report.of(
            X,
            language=corpus.language[few],
            pair_id=corpus.pair_id[few],
            label=corpus.topic[few],
            split=corpus.split[few],
            aligners={"centring": LanguageCentering()},
            layers={"4": X[:, ::2], "6": X},
        )
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.to_html(path)
    return path


def test_the_report_opens_with_a_silent_console_and_no_request(browser, page):
    browser.open(page)
    assert browser.errors() == []
    assert browser.requests() == []


def test_every_picture_of_the_report_is_drawn(browser, page):
    browser.open(page)
    sizes = browser.value("[...document.images].map(image => image.naturalWidth)")
    assert len(sizes) == 7
    assert min(sizes) > 300


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_wider_than_the_window_but_what_scrolls(browser, page, width):
    browser.open(page)
    assert browser.screenshot(width).startswith(b"\x89PNG")
    assert browser.value("document.documentElement.scrollWidth") <= width


def test_a_page_with_an_error_and_a_request_is_caught(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<script>console.error('planted'); nowhere();</script>"
        '<img src="http://127.0.0.1:9/picture.png">'
    )
    browser.open(bad)
    told = " ".join(browser.errors())
    assert "planted" in told
    assert "nowhere is not defined" in told
    assert browser.requests() == ["http://127.0.0.1:9/picture.png"]
