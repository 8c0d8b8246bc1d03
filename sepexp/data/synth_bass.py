"""The demo's bass player: one line that follows the chords, in one of several timbres a song."""

from __future__ import annotations

import numpy as np

from sepexp.data.synth_score import Bar, Score
from sepexp.data.synth_tone import Array, decay, gate, hertz, pan, partials, place, shaped_noise

TIMBRES = ("finger", "pick", "saw", "sub", "rubber")
# (step, steps, what): root, fifth, octave, seventh or third, neighbour of the next root.
LINES = (
    (
        (0, 2, "r"),
        (2, 2, "r"),
        (4, 2, "r"),
        (6, 2, "r"),
        (8, 2, "r"),
        (10, 2, "r"),
        (12, 2, "r"),
        (14, 2, "n"),
    ),
    ((0, 6, "r"), (6, 2, "r"), (8, 4, "f"), (12, 4, "r")),
    ((0, 3, "r"), (3, 3, "r"), (6, 2, "o"), (10, 2, "r"), (12, 2, "f"), (14, 2, "n")),
    ((0, 4, "r"), (4, 4, "s"), (8, 4, "f"), (12, 4, "n")),
    (
        (0, 2, "r"),
        (2, 2, "o"),
        (4, 2, "r"),
        (6, 2, "o"),
        (8, 2, "r"),
        (10, 2, "o"),
        (12, 2, "r"),
        (14, 2, "o"),
    ),
    ((0, 14, "r"), (14, 2, "n")),
    ((0, 1, "r"), (2, 1, "r"), (3, 2, "r"), (6, 1, "o"), (7, 1, "f"), (10, 3, "r"), (14, 2, "s")),
)


def play_bass(rng: np.random.Generator, score: Score, rate: int) -> Array:
    """Plays the song's bass; centred but for a trace of width; Shape: (2, samples)."""
    track = np.zeros((2, int(round(score.seconds * rate))), dtype=np.float32)
    timbre = str(rng.choice(TIMBRES))
    lines = rng.permutation(len(LINES))
    low = int(rng.integers(29, 35))
    cutoff = float(rng.uniform(0.7, 1.5))
    short = float(rng.uniform(0.72, 0.97))
    where = pan(float(rng.uniform(-0.12, 0.12)))
    notes: dict[tuple[int, int], Array] = {}
    for number, bar in enumerate(score.bars):
        if "bass" not in bar.sounding:
            continue
        line = LINES[lines[1 if bar.section == "chorus" else 0]]
        following = score.bars[min(number + 1, len(score.bars) - 1)]
        for step, steps, what in line:
            if step and rng.random() < 0.06:
                continue
            note = _pitch(rng, bar, following, what, low)
            begin = score.time(bar, step)
            length = short * (score.time(bar, step + steps) - begin)
            key = (note, int(length * rate))
            if key not in notes:
                notes[key] = _tone(rng, timbre, note, key[1], cutoff, rate)
            gain = 0.95 if step % 8 == 0 else 0.78
            late = float(rng.normal(0.0, 0.003))
            at = max(0, int((begin + late) * rate))
            place(track, notes[key], at, gain * float(rng.uniform(0.9, 1.08)) * where)
    return track


def _pitch(rng: np.random.Generator, bar: Bar, following: Bar, what: str, low: int) -> int:
    """MIDI note of a line's letter, the root in the octave above `low`."""
    root = low + (bar.root - low) % 12
    if what == "o":
        return root + 12
    if what == "f":
        return root + (bar.chord[2] - bar.root) % 12
    if what == "s":
        return root + (bar.chord[-1 if len(bar.chord) > 3 else 1] - bar.root) % 12
    if what == "n":
        target = low + (following.root - low) % 12
        return target + int(rng.choice([-2, -1, 1, 2])) if following.root != bar.root else root
    return root


def _tone(
    rng: np.random.Generator, timbre: str, note: int, samples: int, cutoff: float, rate: int
) -> Array:
    """One note; every timbre is a set of harmonics with its own tilt and decays."""
    base = float(hertz(note))
    number = np.arange(1, 41)
    if timbre in ("finger", "pick"):
        spot, tilt = (0.22, 1.35) if timbre == "finger" else (0.09, 0.9)
        amplitude = np.abs(np.sin(np.pi * number * spot)) / number**tilt
        amplitude *= np.exp(-number * base / (900.0 * cutoff if spot > 0.1 else 2200.0 * cutoff))
        stretched = base * number * np.sqrt(1.0 + 8e-5 * number**2)
        tone = partials(stretched, amplitude, 0.9 + 0.28 * number, samples, rate)
        string = shaped_noise(rng, samples, rate, low=300.0, high=1800.0 * cutoff)
        tone += (0.05 if timbre == "finger" else 0.12) * string * decay(samples, rate, 0.06)
        release = 0.05
    elif timbre == "saw":
        steady = np.exp(-number * base / (260.0 * cutoff)) / number
        swept = np.exp(-number * base / (1500.0 * cutoff)) / number
        tone = partials(base * number, steady, 0.2, samples, rate)
        tone += partials(base * number, swept, 4.0 + 0.7 * number, samples, rate)
        release = 0.02
    elif timbre == "sub":
        tone = partials(base * number[:3], [1.0, 0.12, 0.06], 0.4, samples, rate)
        tone = np.asarray(np.tanh((1.0 + cutoff) * tone), dtype=np.float32)
        release = 0.04
    else:
        time = np.arange(samples) / rate
        phase = 2.0 * np.pi * base * time
        index = (1.0 + 1.6 * cutoff * np.exp(-time * 7.0)) * min(1.0, 90.0 / base)
        modulated = np.sin(phase + index * np.sin(phase))
        tone = (modulated * np.exp(-1.1 * time)).astype(np.float32)
        release = 0.03
    click = 0.004 if timbre != "sub" else 0.012
    return gate(tone * float(rng.uniform(0.97, 1.03)), rate, attack=click, release=release)
