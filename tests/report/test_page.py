from __future__ import annotations

import html.parser
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sepexp.audio import write_wav
from sepexp.errors import UserError
from sepexp.report.excerpts import find_excerpts, sdr_over_time
from sepexp.report.page import table_html, write_page
from sepexp.report.runs import open_runs
from sepexp.report.text import Table

MakeRun = Callable[..., Path]
RATE = 8000
EVIL = "</script><script>alert(1)</script> \"q\" & 'a' $x$"


def keep_audio(run: Path, song: str, noise: float, *, seed: int = 0, seconds: float = 3) -> None:
    """What the test command keeps of a song."""
    samples = round(seconds * RATE)
    time = np.arange(samples) / RATE
    generator = np.random.default_rng(seed)
    voice = 0.3 * np.sin(2 * np.pi * 220 * time) * np.sin(2 * np.pi * 0.5 * time) ** 2
    drums = 0.3 * generator.normal(size=samples) * np.exp(-8 * (time * 2 % 1))
    stems = {"vocals": np.stack([voice, voice]), "drums": np.stack([drums, 0.5 * drums])}
    folder = run / "audio" / "test" / song
    write_wav(folder / "mixture.wav", sum(stems.values()), RATE)
    for name, stem in stems.items():
        write_wav(folder / f"{name} truth.wav", stem, RATE)
        error = noise * np.random.default_rng(round(1000 * noise)).normal(size=stem.shape)
        write_wav(folder / f"{name} estimate.wav", stem + error, RATE)


@pytest.fixture(autouse=True)
def pictures_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes a second a picture; what is drawn has its own tests, and the browser's."""
    monkeypatch.setattr("sepexp.plot.save", lambda figure, path: Path(path).write_bytes(b"png"))


@pytest.fixture
def runs(make_run: MakeRun) -> Path:
    for name, noise, level in (("a", 0.05, 5.0), ("b <b>", 0.01, 6.0)):
        run = make_run(
            f"sweep/{name}", overrides={"model.activation": name}, level=level,
            passport={"test_selection": ["song 1"]} if name == "a" else {"macs": 5e9},
            track_names=[EVIL, *(f"song {index}" for index in range(9))],
        )  # fmt: skip
        keep_audio(run, EVIL.replace("/", "|"), noise)
    return run.parent


class Reader(html.parser.HTMLParser):
    """What the page shows and points to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_shows_names_as_text_and_points_only_into_its_folder(
    runs: Path, tmp_path: Path
) -> None:
    index = write_page(open_runs([runs]), tmp_path / "page", songs=1)
    text = index.read_text(encoding="utf-8")
    page = Reader()
    page.feed(text)
    # read back as it was, so it was escaped as it must be
    assert EVIL.replace("/", "|") in page.text and "b <b>" in page.text
    assert [attrs.get("src") for tag, attrs in page.tags if tag == "script"] == ["page.js"]
    assert "CHOSEN ON TEST SONGS" in page.text
    assert not re.search(
        r"https?:|//", " ".join(a.get("src") or a.get("href") or "" for _, a in page.tags)
    )
    for tag, attrs in page.tags:
        if tag in ("img", "link", "script"):
            assert (index.parent / (attrs.get("src") or attrs["href"])).is_file()
    players = [attrs for _, attrs in page.tags if attrs.get("class") == "player"]
    assert len(players) == 2
    for attrs in players:
        for name in re.findall(r"audio/\d+\.js", attrs["data-files"]):
            assert (index.parent / name).read_text().startswith(f'sepexpAudio("{name}", ')
    source = (index.parent / "page.js").read_text()
    assert "fetch(" not in source and "http" not in source and "eval" not in source


def test_page_can_be_written_again_but_not_over_other_files(runs: Path, tmp_path: Path) -> None:
    records = open_runs([runs])
    first = write_page(records, tmp_path / "page", songs=1)
    count = len(list((tmp_path / "page").rglob("*")))
    write_page(records, tmp_path / "page", songs=0)
    assert len(list((tmp_path / "page").rglob("*"))) < count and first.is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds other files"):
        write_page(records, tmp_path / "mine")


def test_one_run_has_a_page_too(make_run: MakeRun, tmp_path: Path) -> None:
    index = write_page(open_runs([make_run("only")]), tmp_path / "page")
    text = index.read_text()
    assert "kept no audio" in text and "nothing to be compared" in text
    (tmp_path / "only" / "scores.csv").unlink()
    with pytest.raises(UserError, match="none of these runs was tested"):
        write_page(open_runs([tmp_path / "only"]), tmp_path / "page")


def test_runs_share_a_player_only_for_the_same_truth(make_run: MakeRun) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 7)):
        run = make_run(f"s/{name}")
        keep_audio(run, "song", 0.1, seed=seed)
    found = find_excerpts(open_runs([run.parent]), 3)
    drums = [list(one.files) for one in found if one.target == "drums"]
    assert drums == [["mixture", "truth", "a", "b"], ["mixture", "truth", "c"]]


def test_sdr_over_time_is_bsseval() -> None:
    from sepexp.metric.sdr import framewise_sdr

    generator = np.random.default_rng(0)
    truth = generator.normal(size=(2, 3 * RATE + 5))
    estimate = truth + 0.1 * generator.normal(size=truth.shape)
    truth[:, RATE : 2 * RATE] = 0
    expected = framewise_sdr(truth[None], estimate[None], RATE, RATE)[0]
    assert np.allclose(sdr_over_time(truth, estimate, RATE), expected, equal_nan=True, atol=1e-9)


def test_cells_sort_by_their_numbers() -> None:
    rows = [["a", "5.10 / 4.00", "10.98M", "67 min"], ["b", "–", "980k", "2.0 h"]]
    text = table_html(Table("", ["run", "SDR", "params", "time"], rows))
    values = re.findall(r'data-value="([^"]*)"', text)
    assert values == ["a", "5.1", "10980000.0", "4020.0", "b", "", "980000.0", "7200.0"]
