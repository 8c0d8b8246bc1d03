"""What a demo song plays: tempo, key, form, chords, and which stems pause where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEMS = ("vocals", "drums", "bass", "other")
BEATS = 4
STEPS = 16

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
# Roots as steps of the scale, a bar each.
LOOPS = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 3), (5, 3, 0, 4), (1, 4, 0, 5), (3, 4, 2, 5)),
    "minor": ((0, 5, 2, 6), (0, 3, 5, 4), (0, 6, 5, 6), (0, 2, 6, 3), (5, 6, 0, 0), (3, 0, 5, 6)),
    "dorian": ((0, 3, 0, 3), (0, 6, 3, 0), (0, 2, 3, 6), (0, 4, 3, 3)),
    "mixolydian": ((0, 6, 3, 0), (0, 3, 6, 3), (0, 4, 6, 3), (3, 0, 6, 0)),
}
# Bars for each section at full length; a short song takes half of each.
FORMS = (
    (("intro", 2), ("verse", 4), ("chorus", 4), ("break", 2), ("verse", 4), ("chorus", 4)),
    (("verse", 4), ("chorus", 4), ("break", 2), ("chorus", 4), ("verse", 4), ("break", 2)),
    (("intro", 2), ("chorus", 4), ("verse", 4), ("break", 2), ("chorus", 4), ("verse", 4)),
    (("verse", 4), ("break", 2), ("verse", 4), ("chorus", 4), ("break", 2), ("chorus", 4)),
)
FULL = frozenset(STEMS)
# What still sounds where the song thins out; together they leave each stem out, and alone, in turn.
THIN = {
    "intro": (
        {"other"},
        {"drums", "bass"},
        {"bass", "other"},
        {"drums", "other"},
        {"vocals", "other"},
        {"drums", "bass", "other"},
    ),
    "break": (
        {"drums"},
        {"vocals", "other"},
        {"drums", "vocals"},
        {"bass", "other"},
        {"vocals", "bass", "drums"},
        {"vocals", "bass"},
    ),
    "verse": (
        {"vocals", "drums", "bass"},
        {"vocals", "drums", "other"},
        {"vocals", "bass", "other"},
    ),
}


@dataclass(frozen=True)
class Bar:
    """One bar: its section and place there, its chord in pitch classes, which stems sound."""

    start: float
    section: str
    index: int
    last: bool
    root: int
    chord: tuple[int, ...]
    sounding: frozenset[str]


@dataclass(frozen=True)
class Score:
    """A song on paper; times in seconds, `swing` in parts of a sixteenth step."""

    tempo: float
    swing: float
    key: int
    scale: tuple[int, ...]
    bars: tuple[Bar, ...]
    seconds: float

    @property
    def beat(self) -> float:
        """Seconds of one beat."""
        return 60.0 / self.tempo

    def time(self, bar: Bar, step: float) -> float:
        """Seconds at a sixteenth step of a bar; every second step comes late by the swing."""
        late = self.swing if int(step) % 2 and step == int(step) else 0.0
        return bar.start + (step + late) * self.beat / 4.0

    def has(self, stem: str) -> list[Bar]:
        """The bars in which a stem sounds."""
        return [bar for bar in self.bars if stem in bar.sounding]


def draw_score(rng: np.random.Generator, seconds: float) -> Score:
    """Draws tempo, key, mode, form, a chord loop for each kind of section, and the pauses."""
    tempo = float(rng.uniform(78.0, 150.0))
    mode = str(rng.choice(list(SCALES), p=[0.4, 0.35, 0.15, 0.1]))
    key = int(rng.integers(12))
    swing = float(rng.choice([0.0, 0.0, rng.uniform(0.1, 0.35), rng.uniform(0.45, 0.62)]))
    loops = {name: LOOPS[mode][int(rng.integers(len(LOOPS[mode])))] for name in ("verse", "chorus")}
    sevenths = bool(rng.random() < 0.45)
    length = BEATS * 60.0 / tempo
    count = max(1, int(np.ceil(seconds / length - 1e-6)))
    bars: list[Bar] = []
    for section, size, sounding in _sections(rng, count):
        loop = loops["chorus" if section == "chorus" else "verse"]
        for index in range(size):
            degree = loop[index % len(loop)]
            chord = _stack(key, SCALES[mode], degree, 4 if sevenths else 3)
            bars.append(
                Bar(
                    start=len(bars) * length,
                    section=section,
                    index=index,
                    last=index == size - 1,
                    root=chord[0],
                    chord=chord,
                    sounding=sounding,
                )
            )
    return Score(
        tempo=tempo,
        swing=swing,
        key=key,
        scale=SCALES[mode],
        bars=tuple(bars[:count]),
        seconds=seconds,
    )


Sections = list[tuple[str, int, frozenset[str]]]


def _sections(rng: np.random.Generator, count: int) -> Sections:
    """Sections until `count` bars are full; a song of three bars or fewer is one full section.

    All stems sound together in half of the bars or more: scores by frame need such frames.
    """
    if count <= 3:
        return [("chorus", count, FULL)]
    while True:
        sections = _draw_sections(rng, count)
        bars = [sounding for _, size, sounding in sections for _ in range(size)]
        if 2 * sum(sounding == FULL for sounding in bars[:count]) >= count:
            return sections


def _draw_sections(rng: np.random.Generator, count: int) -> Sections:
    form = FORMS[int(rng.integers(len(FORMS)))]
    sections: Sections = []
    filled = 0
    while filled < count:
        for section, size in form:
            bars = size if count > 12 else size // 2
            thin = section in THIN and (section != "verse" or rng.random() < 0.2)
            choices = THIN.get(section, ())
            sounding = frozenset(choices[int(rng.integers(len(choices)))]) if thin else FULL
            sections.append((section, bars, sounding))
            filled += bars
    return sections


def _stack(key: int, scale: tuple[int, ...], degree: int, size: int) -> tuple[int, ...]:
    """Pitch classes of the thirds stacked on a step of the scale."""
    return tuple((key + scale[(degree + 2 * third) % 7]) % 12 for third in range(size))
