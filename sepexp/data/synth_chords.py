"""The demo's harmony ('other'): two or three timbres a song, held or broken, spread wide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sepexp.data.synth_score import Bar, Score
from sepexp.data.synth_tone import Array, gate, hertz, pan, partials, place

HELD = ("pad", "strings", "organ")
STRUCK = ("e-piano", "guitar", "pluck", "bell", "stab", "organ")
# (step, length in steps) of a whole chord, or None where the chord is broken into single notes.
COMPING = (
    ((0, 16),),
    ((0, 8), (8, 8)),
    ((2, 2), (6, 2), (10, 2), (14, 2)),
    ((0, 3), (3, 3), (6, 4), (10, 3), (13, 3)),
    ((0, 4), (4, 4), (8, 4), (12, 4)),
    ((0, 2), (3, 2), (7, 3), (12, 3)),
)
ROLLS = ((0, 1, 2, 1), (0, 2, 1, 2), (2, 1, 0, 1), (0, 1, 2, 3), (3, 1, 2, 0))


@dataclass(frozen=True)
class Part:
    """One layer of the harmony: its timbre, how it plays, how loud and where."""

    timbre: str
    broken: bool
    steps: tuple[tuple[int, int], ...]
    roll: tuple[int, ...]
    centre: int
    gain: float
    side: float
    hold: float
    wobble: float
    colour: float


def play_chords(rng: np.random.Generator, score: Score, rate: int) -> Array:
    """Plays the song's chords, verse and chorus in different timbres; Shape: (2, samples)."""
    samples = int(round(score.seconds * rate))
    track = np.zeros((2, samples), dtype=np.float32)
    verse, chorus, top = _draw_part(rng, None), _draw_part(rng, None), _draw_part(rng, True)
    layered = bool(rng.random() < 0.6)
    for part in (verse, chorus, top):
        bars = []
        for bar in score.has("other"):
            loud = bar.section == "chorus"
            if part is (chorus if loud else verse) or (part is top and loud and layered):
                bars.append(bar)
        if bars:
            track += _play_part(rng, score, bars, part, samples, rate)
    return track


def _draw_part(rng: np.random.Generator, broken: bool | None) -> Part:
    """Draws a layer; held timbres play long chords, struck ones patterns or broken chords."""
    if broken is None:
        broken = bool(rng.random() < 0.3)
    held = not broken and rng.random() < 0.5
    timbre = str(rng.choice(HELD if held else STRUCK))
    steps = COMPING[int(rng.integers(0, 2) if held else rng.integers(1, len(COMPING)))]
    return Part(
        timbre=timbre,
        broken=broken,
        steps=steps,
        roll=ROLLS[int(rng.integers(len(ROLLS)))],
        centre=int(rng.integers(72, 80) if broken else rng.integers(59, 67)),
        gain=0.6 if broken else 1.0,
        side=float(rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.1)),
        hold=float(0.96 if held else rng.uniform(0.45, 0.9)),
        wobble=float(rng.choice([0.0, rng.uniform(0.1, 0.3)])),
        colour=float(rng.uniform(0.6, 1.5)),
    )


def _play_part(
    rng: np.random.Generator, score: Score, bars: list[Bar], part: Part, samples: int, rate: int
) -> Array:
    """Renders one layer over its bars, notes spread from side to side."""
    track = np.zeros((2, samples), dtype=np.float32)
    cache: dict[tuple[int, int], Array] = {}

    def sound(note: int, begin: float, length: float, gain: float) -> None:
        key = (note, int(round(length * rate / 64.0)) * 64)
        if key not in cache:
            cache[key] = _tone(rng, part, note, key[1], rate)
        # No note stands in the middle, which belongs to the voice; neighbours stand on both sides.
        lean = part.side * ((note * 5) % 12 - 5.5)
        where = pan(float(np.sign(lean) * (0.35 + 0.09 * abs(lean))))
        place(track, cache[key], max(0, int(begin * rate)), gain * part.gain * where)

    voicing: list[int] = []
    for bar in bars:
        voicing = _voice(bar.chord, part.centre, voicing)
        if part.broken:
            size = 2 if score.tempo > 105.0 else 1
            for place_at, step in enumerate(range(0, 16, size)):
                note = voicing[part.roll[place_at % 4] % len(voicing)] + 12 * (place_at % 8 == 7)
                begin = score.time(bar, step) + float(rng.normal(0.0, 0.003))
                sound(note, begin, 1.8 * size * score.beat / 4.0, float(rng.uniform(0.7, 1.0)))
            continue
        strum = 0.012 if part.timbre == "guitar" else 0.002
        for step, steps in part.steps:
            begin, until = score.time(bar, step), score.time(bar, step + steps)
            loud = float(rng.uniform(0.8, 1.0))
            for order, note in enumerate(voicing):
                late = strum * order + abs(float(rng.normal(0.0, 0.003)))
                sound(note, begin + late, part.hold * (until - begin), loud / len(voicing) ** 0.5)
    if part.wobble:
        time = np.arange(samples, dtype=np.float32) / rate
        turn = 2.0 * np.pi * np.float32(rng.uniform(0.4, 6.0)) * time
        track *= 1.0 - part.wobble * (0.5 + 0.5 * np.sin([turn, turn + 2.0], dtype=np.float32))
    return track


def _voice(chord: tuple[int, ...], centre: int, before: list[int]) -> list[int]:
    """Lays a chord's pitch classes near the centre, or near the voicing before it."""
    aim = float(np.mean(before)) if before else float(centre)
    aim = 0.7 * aim + 0.3 * centre
    notes = sorted(int(round((aim - pitch) / 12.0)) * 12 + pitch for pitch in chord)
    return notes if len(notes) > 3 else [*notes, notes[0] + 12]


def _tone(rng: np.random.Generator, part: Part, note: int, samples: int, rate: int) -> Array:
    """One note of a timbre, mono or (2, samples) where the two sides are detuned apart."""
    base, colour = float(hertz(note)), part.colour
    number = np.arange(1, 41)
    dark = np.exp(-number * base / (1300.0 * colour))
    if part.timbre in ("pad", "strings"):
        return _ensemble(rng, part, base, samples, rate)
    if part.timbre == "organ":
        bars = np.array([0.5, 1.0, 0.75, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0])
        pulls = np.array([0.7, 1.0, 0.35, 0.0, 0.6, 0.35, 0.3, 0.15, 0.12]) * colour ** np.arange(9)
        tone = partials(base * bars, np.minimum(pulls, 1.0), 0.0, samples, rate)
        return gate(0.5 * tone, rate, attack=0.006, release=0.03)
    if part.timbre == "e-piano":
        time = np.arange(samples) / rate
        phase = 2.0 * np.pi * base * time
        index = 1.1 * colour * np.exp(-time * 3.5) + 0.15
        tine = (
            0.25 * colour * np.exp(-time * 18.0) * np.sin(np.minimum(14.0, 9000.0 / base) * phase)
        )
        tone = (np.sin(phase + index * np.sin(phase) + tine) * np.exp(-1.3 * time)).astype(
            np.float32
        )
        return gate(tone, rate, attack=0.003, release=0.08)
    if part.timbre == "bell":
        ratios = np.array([1.0, 2.76, 5.4, 8.93, 2.0, 4.07])
        heights = np.array([1.0, 0.5, 0.25, 0.1, 0.3, 0.15]) * colour ** (0.4 * np.arange(6))
        tone = partials(base * ratios, np.minimum(heights, 1.0), 2.0 + 1.6 * ratios, samples, rate)
        return gate(tone, rate, attack=0.002, release=0.1)
    if part.timbre == "stab":
        amplitude = np.exp(-number * base / (2600.0 * colour)) / number
        falls = 3.0 + 1.1 * number
        tone = partials(base * number * 1.003, amplitude, falls, samples, rate)
        tone += partials(base * number * 0.997, amplitude, falls, samples, rate, 1.0)
        return gate(tone, rate, attack=0.003, release=0.03)
    spot, fall = (0.13, 1.2) if part.timbre == "guitar" else (0.31, 3.2)
    amplitude = np.sin(np.pi * number * spot) / number * (0.35 + dark)
    stretched = base * number * np.sqrt(1.0 + 3e-5 * number**2)
    tone = partials(stretched, amplitude, fall * (1.0 + 0.22 * number), samples, rate)
    return gate(1.2 * tone, rate, attack=0.0015, release=0.06)


def _ensemble(rng: np.random.Generator, part: Part, base: float, samples: int, rate: int) -> Array:
    """Three detuned voices a side that open and close slowly; Shape: (2, samples)."""
    number = np.arange(1, 41)
    closed = np.exp(-number * base / (700.0 * part.colour)) / number
    opened = np.exp(-number * base / (3200.0 * part.colour)) / number**0.9
    swell = np.sin(np.linspace(0.0, np.pi, samples, dtype=np.float32))
    cents = 11.0 if part.timbre == "pad" else 6.0
    sides = []
    for _ in range(2):
        detune = 2.0 ** (rng.uniform(-cents, cents, (3, 1)) / 1200.0)
        phases = rng.uniform(0.0, 2.0 * np.pi, (3, len(number)))
        freq = base * number * detune
        still = partials(freq, closed, 0.0, samples, rate, phases)
        moving = partials(freq, opened - closed, 0.0, samples, rate, phases)
        sides.append(still + (0.25 + 0.75 * swell) * moving)
    slow = 0.12 if part.timbre == "pad" else 0.05
    both = np.asarray(0.4 * np.stack(sides), dtype=np.float32)
    return gate(both, rate, attack=slow, release=0.12)
