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
SCREENSHOTS = os.environ.get("SEPEXP_SCREENSHOTS", "")
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
        self.ask("POST", f"/session/{self.session}/timeouts", {"script": 120_000})

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=300) as answer:
            return json.load(answer)["value"]

    def open(self, path: Path) -> None:
        self.ask("POST", f"/session/{self.session}/url", {"url": path.resolve().as_uri()})

    def run(self, script: str) -> Any:
        body = {"script": script, "args": []}
        return self.ask("POST", f"/session/{self.session}/execute/sync", body)

    def play(self, script: str) -> Any:
        """Run a script that awaits; all in the browser, so that a slow test misses no moment."""
        body = {
            "script": "const done = arguments[arguments.length - 1];"
            "const sleep = () => new Promise((wake) => setTimeout(wake, 10));"
            "const until = async (f) => { while (!f()) await sleep(); };"
            f"(async () => {{ {script} }})().then(done, (e) => done(String(e)));",
            "args": [],
        }
        return self.ask("POST", f"/session/{self.session}/execute/async", body)

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
def page(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not SCREENSHOTS:  # drawing takes most of the time, and the browser needs only the files
        monkeypatch.setattr("sepexp.plot.save", lambda figure, path: Path(path).write_bytes(b""))
    time = np.arange(RATE * SECONDS) / RATE
    truth = np.stack([0.4 * np.sin(2 * np.pi * 220 * time)] * 2)
    for name, level in (("good", 7.0), ("poor <img src=x onerror=alert(1)>", 3.0)):
        run = make_run(f"s/{name}", overrides={"model.activation": name}, level=level)
        folder = run / "audio" / "test" / "a song"
        write_wav(folder / "mixture.wav", truth, RATE)
        write_wav(folder / "vocals truth.wav", truth, RATE)
        write_wav(folder / "vocals estimate.wav", truth / level, RATE)
    return write_page(open_runs([run.parent]), tmp_path / "page")


PLAY = """
const p = window.sepexp.players[0];
p.playButton.click();
await until(() => p.position() > 0.3);
const before = p.position();
p.buttons[2].click();
const after = p.position();
await until(() => p.position() > after + 0.2);
const gains = p.gains.map((gain) => gain.gain.value);
p.seek(5.5);
await until(() => p.started === null);
return {
  before, after, gains, buffers: p.nodes.length, end: p.position(),
  lengths: p.decoded.map((buffer) => buffer.length), seconds: p.decoded[0].duration,
  pressed: p.buttons.map((button) => button.getAttribute("aria-pressed")),
  button: p.playButton.textContent,
};
"""


def test_page_sorts_plays_and_switches_at_the_same_instant(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.run("return window.sepexp.players.length") == 1
    assert browser.run("return [...document.images].every(i => i.src.includes('/figures/'))")
    _sorts(browser)
    found = browser.play(PLAY)
    assert isinstance(found, dict), found
    # every version holds the whole excerpt and starts at one instant of one clock
    assert found["buffers"] == 4 and len(set(found["lengths"])) == 1
    assert found["seconds"] == pytest.approx(SECONDS)
    assert 0 <= found["after"] - found["before"] < 0.05
    assert found["pressed"] == ["false", "false", "true", "false"]
    assert found["gains"] == pytest.approx([0, 0, 1, 0], abs=0.01)
    assert found["end"] == pytest.approx(SECONDS, abs=0.2) and found["button"] == "▶ Play"
    # wide tables scroll in their own boxes, the page itself never does
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    if SCREENSHOTS:
        browser.screenshot(Path(SCREENSHOTS) / "page.png")


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
