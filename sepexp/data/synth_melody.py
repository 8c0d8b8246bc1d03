"""What the demo's singer sings: phrases of syllables over the chords, with rests between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sepexp.data.synth_score import Bar, Score

VOWELS = ("i", "e", "ae", "a", "uh", "o", "u")
CONSONANTS = ("s", "sh", "f", "h", "t", "k", "p", "m", "n", "l", "w", "y")
STEP_ODDS = {-3: 0.06, -2: 0.14, -1: 0.26, 0: 0.12, 1: 0.24, 2: 0.12, 3: 0.06}


@dataclass(frozen=True)
class Syllable:
    """One sung note: times in seconds, a MIDI note, a vowel, and the consonant before it or ''."""

    begin: float
    length: float
    note: int
    vowel: str
    consonant: str
    loud: float


@dataclass(frozen=True)
class Phrase:
    """Syllables sung in one breath; `chorus` phrases may be sung by several voices."""

    syllables: tuple[Syllable, ...]
    chorus: bool


def draw_melody(rng: np.random.Generator, score: Score, centre: int) -> list[Phrase]:
    """Draws the phrases of a song around a MIDI note; a motif of rhythm returns in each section."""
    motifs = {
        "verse": _rhythm(rng, (2, 2, 2, 3, 4, 4)),
        "chorus": _rhythm(rng, (2, 2, 4, 4, 6, 8)),
    }
    words = _words(rng)
    phrases = []
    bars = score.bars
    at = 0
    while at < len(bars):
        if "vocals" not in bars[at].sounding:
            at += 1
            continue
        pair = [bars[at]]
        if at + 1 < len(bars) and "vocals" in bars[at + 1].sounding and not bars[at].last:
            pair.append(bars[at + 1])
        chorus = bars[at].section == "chorus"
        rhythm = motifs["chorus" if chorus else "verse"]
        if rng.random() < 0.3:
            rhythm = _rhythm(rng, (2, 2, 4, 6, 8))
        phrase = _set_to_notes(rng, score, pair, rhythm, centre + 3 * chorus, words)
        if phrase:
            phrases.append(Phrase(tuple(phrase), chorus))
        at += len(pair)
    return phrases


def _rhythm(rng: np.random.Generator, lengths: tuple[int, ...]) -> list[tuple[int, int]]:
    """(step, length) in sixteenths over two bars, leaving room to breathe at the end."""
    step = int(rng.choice([0, 0, 2, 4]))
    until = int(rng.integers(22, 29))
    rhythm = []
    while step < until:
        length = min(int(rng.choice(lengths)), until - step)
        rhythm.append((step, max(length, 2)))
        step += length
    # The last note of a phrase is held, as singers do.
    return rhythm[:-2] + [(rhythm[-2][0], until - rhythm[-2][0])] if len(rhythm) > 2 else rhythm


def _words(rng: np.random.Generator) -> list[tuple[str, str]]:
    """The song's small language: pairs of consonant and vowel that come again."""
    words = [("", str(rng.choice(VOWELS))), ("", str(rng.choice(VOWELS)))]
    for _ in range(12):
        words.append((str(rng.choice(CONSONANTS)), str(rng.choice(VOWELS))))
    return words


def _set_to_notes(
    rng: np.random.Generator,
    score: Score,
    bars: list[Bar],
    rhythm: list[tuple[int, int]],
    centre: int,
    words: list[tuple[str, str]],
) -> list[Syllable]:
    """Walks over the scale, lands on chord tones where a note is strong or long."""
    ladder = [
        note for note in range(centre - 9, centre + 11) if (note - score.key) % 12 in score.scale
    ]
    place_on = int(np.argmin([abs(note - centre) for note in ladder])) + int(rng.integers(-2, 3))
    syllables: list[Syllable] = []
    for step, steps in rhythm:
        if step >= 16 * len(bars):
            break
        steps = min(steps, 16 * len(bars) - step - 1)
        bar = bars[step // 16]
        place_on += int(rng.choice(list(STEP_ODDS), p=list(STEP_ODDS.values())))
        place_on += int(rng.random() < 0.35) * int(
            np.sign(centre - ladder[_within(place_on, ladder)])
        )
        place_on = _within(place_on, ladder)
        if step % 8 == 0 or steps >= 6:
            chord = [spot for spot, note in enumerate(ladder) if note % 12 in bar.chord]
            place_on = min(chord, key=lambda spot: abs(spot - place_on))
        begin = score.time(bar, step % 16)
        length = steps * score.beat / 4.0 * float(rng.uniform(0.88, 1.0))
        consonant, vowel = words[int(rng.integers(len(words)))]
        late = float(rng.normal(0.01, 0.008))
        loud = float(rng.uniform(0.75, 1.0)) * (1.0 if step % 4 == 0 else 0.88)
        syllables.append(Syllable(begin + late, length, ladder[place_on], vowel, consonant, loud))
    return syllables


def _within(place_on: int, ladder: list[int]) -> int:
    return int(np.clip(place_on, 0, len(ladder) - 1))
