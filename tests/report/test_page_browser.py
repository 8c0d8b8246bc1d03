"""The page in a real browser, where there is one: chromium, driven through chromedriver."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sepexp.audio import write_wav
from sepexp.report.page import write_page
from sepexp.report.runs import open_runs

MakeRun = Callable[..., Path]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
DRIVER = shutil.which("chromedriver") or ""
RATE, SECONDS = 44100, 6
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--mute-audio", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required",
    "--window-size=1200,1600",
]  # fmt: skip

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver")


class Browser:
    """A session of chromedriver."""

    def __init__(self, port: int, profile: Path) -> None:
        self.base = f"http://127.0.0.1:{port}"
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self.session = self.ask("POST", "/session", wanted)["sessionId"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, path: Path) -> None:
        self.ask("POST", f"/session/{self.session}/url", {"url": path.resolve().as_uri()})

    def run(self, script: str) -> Any:
        body = {"script": script, "args": []}
        return self.ask("POST", f"/session/{self.session}/execute/sync", body)

    def until(self, script: str, seconds: float = 60) -> Any:
        end = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)
        return found

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("GET", f"/session/{self.session}/screenshot")))

    def close(self) -> None:
        self.ask("DELETE", f"/session/{self.session}")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        session = Browser(port, tmp_path / "profile")
        yield session
        session.close()
    finally:
        driver.terminate()
        driver.wait(10)


@pytest.fixture
def page(make_run: MakeRun, tmp_path: Path) -> Path:
    time = np.arange(RATE * SECONDS) / RATE
    truth = np.stack([0.4 * np.sin(2 * np.pi * 220 * time)] * 2)
    for name, level in (("good", 7.0), ("poor <img src=x onerror=alert(1)>", 3.0)):
        run = make_run(f"s/{name}", overrides={"model.activation": name}, level=level)
        folder = run / "audio" / "test" / "a song"
        write_wav(folder / "mixture.wav", truth, RATE)
        write_wav(folder / "vocals truth.wav", truth, RATE)
        write_wav(folder / "vocals estimate.wav", truth / level, RATE)
    return write_page(open_runs([run.parent]), tmp_path / "page")


def test_page_sorts_plays_and_switches_at_the_same_instant(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.run("return window.sepexp.players.length") == 1
    assert browser.run("return [...document.images].every(i => i.src.includes('/figures/'))")
    _sorts(browser)
    browser.run("document.querySelector('.play').click()")
    browser.until("return window.sepexp.players[0].position() > 0.3")
    # every version holds the whole excerpt and starts at one instant of one clock
    facts = browser.run(
        "const p = window.sepexp.players[0];"
        "return [p.decoded.length, new Set(p.decoded.map(b => b.length)).size,"
        " p.decoded[0].duration, p.nodes.length]"
    )
    assert facts[:2] == [4, 1] and facts[2] == pytest.approx(SECONDS) and facts[3] == 4
    before, after, pressed = browser.run(
        "const p = window.sepexp.players[0]; const b = p.position(); p.buttons[2].click();"
        "return [b, p.position(), p.buttons.map(x => x.getAttribute('aria-pressed'))]"
    )
    assert 0 <= after - before < 0.05
    assert pressed == ["false", "false", "true", "false"]
    browser.until(
        "const g = window.sepexp.players[0].gains.map(x => x.gain.value);"
        "return g[2] > 0.99 && g[0] < 0.01 && g[1] < 0.01 && g[3] < 0.01"
    )
    browser.run("window.sepexp.players[0].seek(5.5)")
    browser.until("return window.sepexp.players[0].started === null")  # it stops at the end
    if os.environ.get("SEPEXP_SCREENSHOTS"):
        browser.screenshot(Path(os.environ["SEPEXP_SCREENSHOTS"]) / "page.png")


def _sorts(browser: Browser) -> None:
    column = (
        "const t = document.querySelector('table.sortable');"
        "const i = [...t.tHead.rows[0].cells].findIndex(c => c.textContent === 'vocals');"
    )
    read = column + "return [...t.tBodies[0].rows].map(r => parseFloat(r.cells[i].textContent))"
    click = column + "t.tHead.rows[0].cells[i].querySelector('button').click();"
    browser.run(click)
    falling = browser.run(read)
    assert falling == sorted(falling, reverse=True) and len(falling) > 3
    browser.run(click)
    assert browser.run(read) == sorted(falling)
