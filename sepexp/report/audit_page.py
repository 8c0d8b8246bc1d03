"""The audit of an augmentation as one page that needs no other file, and the same sounds as wav.

Names of songs and sources come from strangers' folders: every one is escaped.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sepexp import plot
from sepexp.audio import write_wav
from sepexp.errors import UserError
from sepexp.report.page import HERE, table_html
from sepexp.report.text import Table
from sepexp.run import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Audit of the augmentation"
POINTS = 1200  # of a waveform's outline
LOUDEST = 0.99  # peak from which on sounds in the page are turned down


class Example(NamedTuple):
    """A chunk before and after augmentation.

    Shape:
        before, after: (sources, channels, samples).
        places: song and second of each source. numbers: each with a value a source.
    """

    number: int
    sources: Sequence[str]
    places: Sequence[tuple[str, float]]
    numbers: Mapping[str, Sequence[float]]
    before: np.ndarray
    after: np.ndarray


def write_audit(
    out: Path, *, table: Table, verdict: str, about: str, examples: Sequence[Example], rate: int
) -> Path:
    """Write `index.html` and `<number>/<sound> before|after.wav`.

    Args:
        out: A new or empty folder, or that of an earlier audit.
        table: What was checked.
        verdict: One sentence about it.
        about: What was audited.
        examples: To listen to.
        rate: Hz.

    Returns:
        The page.

    Raises:
        UserError: The folder can't be written to, or holds something else.
    """
    index = out / "index.html"
    try:
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file: name a new folder with --out")
        if out.is_dir() and any(out.iterdir()) and not _is_ours(index):
            raise UserError(f"{out} holds other files: name a new or empty folder with --out")
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("[0-9]*/[0-9]*.wav"):  # of an earlier audit
            old.unlink()
        parts = [_example(example, rate, out) for example in examples]
        page = _page(table, verdict, about, parts)
        write_text(index, page)
    except OSError as error:
        raise UserError(f"can't write to {out}: {error.strerror or error}") from None
    return index


def _is_ours(index: Path) -> bool:
    return index.is_file() and TITLE in index.read_text(encoding="utf-8", errors="replace")[:500]


def _page(table: Table, verdict: str, about: str, examples: Sequence[str]) -> str:
    style, script = ((HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE}</title>
<style>{style}
.sounds {{ display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; align-items: center; }}
.sounds span {{ display: inline-flex; align-items: center; gap: .5rem; color: var(--soft); }}
audio {{ height: 2rem; }}</style>
</head>
<body>
<header><h1>{TITLE}</h1><p class="lead">{escape(about)}</p>
<nav><a href="#checks">checks</a><a href="#examples">examples</a></nav></header>
<section id="checks"><h2>Checks</h2><p>{escape(verdict)}</p>{table_html(table)}</section>
<section id="examples"><h2>Examples</h2>{"".join(examples)}</section>
<script>{script}</script>
</body>
</html>
"""


def _example(example: Example, rate: int, out: Path) -> str:
    parts = [f"<h3>Example {example.number}</h3>{table_html(_drawn(example))}"]
    mixtures = example.before.sum(axis=0), example.after.sum(axis=0)
    sounds = {"mixture": mixtures} | {
        source: (before, after)
        for source, before, after in zip(
            example.sources, example.before, example.after, strict=True
        )
    }
    peak = max(float(np.abs(sound).max(initial=0)) for pair in sounds.values() for sound in pair)
    scale = LOUDEST / peak if peak > LOUDEST else 1.0
    if scale < 1:
        lower = -20 * np.log10(scale)
        parts.append(
            f'<p class="note">Sounds in this example are turned down by {lower:.1f} dB so that '
            "none clips; the wav files are not.</p>"
        )
    folder = out / str(example.number)
    for place, (name, pair) in enumerate(sounds.items()):
        for word, sound in zip(("before", "after"), pair, strict=True):
            # a number first: a source may be named like anything, but not like two files
            file = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
            write_wav(folder / f"{place} {file} {word}.wav", sound, rate)
        parts.append(_sound(name, pair, scale, rate, opened=place == 0))
    return "".join(parts)


def _drawn(example: Example) -> Table:
    """What was drawn for each source."""
    rows = [
        [source, song, f"{second:.2f} s", *(f"{v[row]:.4g}" for v in example.numbers.values())]
        for row, (source, (song, second)) in enumerate(
            zip(example.sources, example.places, strict=True)
        )
    ]
    return Table("", ["source", "song", "from", *example.numbers], rows)


def _sound(
    name: str, pair: tuple[np.ndarray, np.ndarray], scale: float, rate: int, *, opened: bool
) -> str:
    both = dict(zip(("before", "after"), pair, strict=True))
    players = "".join(
        f'<span>{word} <audio controls preload="none" src="{_audio(scale * sound, rate)}"></audio>'
        "</span>"
        for word, sound in both.items()
    )
    pictures = _picture(_waveforms(both, rate), f"{name}: waveform") + _picture(
        plot.spectrogram_figure(both, rate), f"{name}: spectrogram"
    )
    state = " open" if opened else ""
    return (
        f"<details{state}><summary>{escape(name)}</summary>"
        f'<div class="sounds">{players}</div><div class="figures">{pictures}</div></details>'
    )


def _waveforms(both: Mapping[str, np.ndarray], rate: int) -> Figure:
    """Outlines under each other on one scale, channels averaged; as high as the spectrograms."""
    height = 0.9 + 1.8 * len(both)
    figure = plot.new_figure(9.0, height, arranged=False)
    figure.subplots_adjust(0.06, 0.5 / height, 0.9, 1 - 0.4 / height, hspace=0.25)
    peak = 1.05 * max(float(np.abs(sound).max(initial=0)) for sound in both.values()) or 1.0
    axes = figure.subplots(len(both), 1, sharex=True)
    for axis, (word, sound) in zip(axes, both.items(), strict=True):
        blocks = np.array_split(sound.mean(axis=0), min(POINTS, sound.shape[-1]))
        low, high = ([edge(block) for block in blocks] for edge in (np.min, np.max))
        seconds = np.linspace(0, sound.shape[-1] / rate, len(blocks))
        axis.fill_between(seconds, low, high, color=plot.COLOURS[0], linewidth=0.5)
        axis.set_ylim(-peak, peak)
        axis.margins(x=0)
        axis.grid(True, color="#e6e6e6", linewidth=0.7)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(word, loc="left", fontsize=9)
    axis.set_xlabel("time (s)")
    return figure


def _picture(figure: Figure, caption: str) -> str:
    data = io.BytesIO()
    plot.save(figure, data, dpi=70)
    text = base64.b64encode(data.getvalue()).decode()
    words = escape(caption)
    return (
        f'<figure><img src="data:image/png;base64,{text}" alt="{words}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def _audio(sound: np.ndarray, rate: int) -> str:
    """A data address: MP3 where libsndfile can, else lossless and eight times as large."""
    import soundfile

    data = io.BytesIO()
    try:
        soundfile.write(data, sound.T, rate, format="MP3", subtype="MPEG_LAYER_III")
        kind = "mpeg"
    except (soundfile.SoundFileError, ValueError):  # built without it, or a rate that MP3 lacks
        data = io.BytesIO()
        soundfile.write(data, sound.T, rate, format="FLAC", subtype="PCM_16")
        kind = "flac"
    return f"data:audio/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
