"""The demo's drummer: a kit of synthesised strokes and the patterns that play them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sepexp.data.synth_score import Bar, Score
from sepexp.data.synth_tone import Array, Wide, decay, gate, pan, partials, place, shaped_noise

# Sixteen steps a bar: X accent, x stroke, o soft, a dot rests.
GROOVES = (
    ("X.......X.x.....", "....X.......X...", "x.o.x.o.x.o.x.o."),
    ("X...X...X...X...", "....X.......X...", "..X...X...X...X."),
    ("X..x..x...x.....", "....X.......X...", "xoxoxoxoxoxoxoxo"),
    ("X.....x.X.......", "....X..o.o..X..o", "x.x.x.x.x.x.x.x."),
    ("X.....x...x.....", "........X.......", "x...x...x...x..."),
    ("X..X..X.X..X..X.", "....X.......X...", "x.xxx.xxx.xxx.xx"),
    ("X.x.......X..x..", "....X..o....X.o.", "xoxxxoxxxoxxxoxx"),
    ("X.........X.....", "....X.......X...", "X..xX..xX..xX..x"),
)
VELOCITY = {"X": 1.0, "x": 0.72, "o": 0.4}
LAYERS = (0.35, 0.65, 1.0)

Stroke = Callable[[float], Array]


@dataclass(frozen=True)
class Drum:
    """One instrument of the kit: how a stroke of a hardness up to 1 sounds, and where it stands."""

    stroke: Stroke
    gain: float
    side: float
    rendered: dict[tuple[int, int], Array] = field(default_factory=dict)

    def hit(self, velocity: float, turn: int) -> Array:
        """A stroke of one of three layers of velocity; two of each take turns, made when asked."""
        layer = int(np.searchsorted(LAYERS[:-1], velocity))
        if (layer, turn) not in self.rendered:
            self.rendered[layer, turn] = self.stroke(LAYERS[layer])
        return self.rendered[layer, turn]


def play_drums(rng: np.random.Generator, score: Score, rate: int) -> Array:
    """Plays the song's drums: grooves with swing, ghost notes, fills and crashes; (2, samples)."""
    smith, rng = rng.spawn(2)
    kit = _build_kit(smith, rate)
    track = np.zeros((2, int(round(score.seconds * rate))), dtype=np.float32)
    grooves = rng.permutation(len(GROOVES))
    ghosts = float(rng.uniform(0.0, 0.25))
    tight = float(rng.uniform(0.001, 0.006))
    cymbal = "ride" if rng.random() < 0.5 else "hat"
    extra = str(rng.choice(["clap", "shaker", "none"]))
    crash = True
    for bar in score.bars:
        if "drums" not in bar.sounding:
            crash = True
            continue
        groove = GROOVES[grooves[1 if bar.section == "chorus" else 0]]
        fill = int(rng.choice([4, 8])) if bar.last else 0
        hits = _groove(rng, groove, ghosts, until=16 - fill)
        if bar.section == "chorus":
            hits = [(step, cymbal if name == "hat" else name, loud) for step, name, loud in hits]
            hits += _extra(extra, until=16 - fill)
        hits += _fill(rng, 16 - fill)
        if crash or bar.index == 0:
            hits.append((0, "crash", 0.8))
        crash = False
        _strike(rng, track, kit, score, bar, hits, tight, rate)
    # Soft saturation keeps the peaks of the kit from dwarfing its body.
    return np.asarray(np.tanh(1.1 * track), dtype=np.float32)


def _strike(
    rng: np.random.Generator,
    track: Array,
    kit: dict[str, Drum],
    score: Score,
    bar: Bar,
    hits: list[tuple[int, str, float]],
    tight: float,
    rate: int,
) -> None:
    """Places the strokes of one bar, a little early or late, louder strokes brighter."""
    for step, name, loud in hits:
        drum = kit[name]
        velocity = float(np.clip(loud * rng.uniform(0.86, 1.1), 0.08, 1.0))
        stroke = drum.hit(velocity, int(rng.integers(2)))
        at = int((score.time(bar, step) + rng.normal(0.0, tight)) * rate)
        place(track, stroke, max(at, 0), drum.gain * velocity**1.3 * pan(drum.side))


def _groove(
    rng: np.random.Generator, groove: tuple[str, str, str], ghosts: float, until: int
) -> list[tuple[int, str, float]]:
    """One bar of kick, snare and hats up to a step, with ghost notes and some open hats."""
    hits = []
    for name, line in zip(("kick", "snare", "hat"), groove, strict=True):
        for step, mark in enumerate(line[:until]):
            if mark in VELOCITY:
                opened = name == "hat" and step % 4 == 2 and rng.random() < 0.15
                hits.append((step, "open" if opened else name, VELOCITY[mark]))
            elif name == "snare" and rng.random() < ghosts and line[step - 1] == ".":
                hits.append((step, "snare", float(rng.uniform(0.12, 0.28))))
            elif name == "kick" and rng.random() < 0.03:
                hits.append((step, "kick", 0.6))
    return hits


def _extra(name: str, until: int) -> list[tuple[int, str, float]]:
    """Hand claps or a shaker on top of a chorus."""
    if name == "clap":
        return [(step, "clap", 0.9) for step in (4, 12) if step < until]
    if name == "shaker":
        return [(step, "shaker", 0.8 if step % 4 == 2 else 0.45) for step in range(until)]
    return []


def _fill(rng: np.random.Generator, start: int) -> list[tuple[int, str, float]]:
    """A run over snare and toms to the end of the bar, growing louder."""
    order = ["snare", "high tom", "mid tom", "low tom"]
    hits = []
    for step in range(start, 16):
        if rng.random() < 0.82:
            drum = order[
                min(3, int((step - start) / (16 - start) * 4 + rng.uniform(-0.6, 0.6)) % 4)
            ]
            hits.append((step, drum, 0.5 + 0.45 * (step - start) / 16 + 0.1 * (step % 2 == 0)))
        if step % 4 == 0:
            hits.append((step, "kick", 0.8))
    return hits


def _build_kit(rng: np.random.Generator, rate: int) -> dict[str, Drum]:
    """Draws tuning, damping and brightness of a kit."""
    tune = float(rng.uniform(0.85, 1.2))
    damp = float(rng.uniform(0.7, 1.3))
    side = float(rng.choice([-1.0, 1.0]))
    recipes = {
        "kick": (_kick_recipe(rng, rate, tune, damp), 0.85, 0.0),
        "snare": (_snare_recipe(rng, rate, tune, damp), 0.9, 0.08 * side),
        "hat": (_metal_recipe(rng, rate, 0.06 * damp, 6500.0), 0.34, 0.4 * side),
        "open": (_metal_recipe(rng, rate, 0.45 * damp, 6000.0), 0.3, 0.4 * side),
        "ride": (_metal_recipe(rng, rate, 0.9 * damp, 3800.0), 0.2, -0.5 * side),
        "crash": (_metal_recipe(rng, rate, 2.0 * damp, 2800.0), 0.38, -0.35 * side),
        "clap": (_clap_recipe(rng, rate), 0.5, -0.15 * side),
        "shaker": (_shaker_recipe(rng, rate), 0.2, -0.55 * side),
    }
    for place_at, (name, pitch) in enumerate((("high", 210.0), ("mid", 160.0), ("low", 115.0))):
        recipes[f"{name} tom"] = (
            _tom_recipe(rng, rate, pitch * tune, damp),
            0.75,
            (0.45 - 0.4 * place_at) * side,
        )
    return {name: Drum(stroke, gain, where) for name, (stroke, gain, where) in recipes.items()}


def _swept(samples: int, rate: int, base: float, extra: float, fall: float) -> Wide:
    """Phase in radians of a sine that falls from `base + extra` Hz to `base` Hz."""
    time = np.arange(samples) / rate
    return 2.0 * np.pi * (base * time + extra * fall * (1.0 - np.exp(-time / fall)))


def _kick_recipe(rng: np.random.Generator, rate: int, tune: float, damp: float) -> Stroke:
    base = float(rng.uniform(44.0, 60.0)) * tune
    extra, fall = float(rng.uniform(80.0, 260.0)), float(rng.uniform(0.015, 0.045))
    length, click = float(rng.uniform(0.14, 0.28)) * damp, float(rng.uniform(0.2, 0.6))
    samples = int(min(0.8, 1.3 * length) * rate)

    def stroke(hard: float) -> Array:
        sweep = _swept(samples, rate, base, extra * (0.5 + 0.5 * hard), fall)
        body = np.sin(sweep).astype(np.float32) * decay(samples, rate, 1.4 * length)
        beater = shaped_noise(rng, samples, rate, low=900.0, high=2500.0 + 3500.0 * hard)
        mixed = np.tanh(1.8 * body) + click * hard * beater * decay(samples, rate, 0.03)
        return gate(mixed, rate, attack=0.0008, release=0.05)

    return stroke


def _snare_recipe(rng: np.random.Generator, rate: int, tune: float, damp: float) -> Stroke:
    base = float(rng.uniform(165.0, 230.0)) * tune
    wires, length = float(rng.uniform(0.35, 0.75)), float(rng.uniform(0.14, 0.32)) * damp
    top = float(rng.uniform(6000.0, 11000.0))
    samples = int(1.3 * length * rate)

    def stroke(hard: float) -> Array:
        modes = base * np.array([1.0, 1.59, 2.14, 2.65])
        sweep = np.sin(_swept(samples, rate, base, 60.0 * hard, 0.02)).astype(np.float32)
        skin = 0.6 * sweep * decay(samples, rate, 0.6 * length)
        skin += partials(modes[1:], [0.35, 0.2, 0.12], 6.9 / (0.35 * length), samples, rate)
        rattle = shaped_noise(rng, samples, rate, low=700.0, high=top * (0.5 + 0.5 * hard))
        mixed = skin + wires * (0.4 + 0.6 * hard) * rattle * decay(samples, rate, length)
        return gate(mixed, rate, attack=0.0006, release=0.03)

    return stroke


def _tom_recipe(rng: np.random.Generator, rate: int, base: float, damp: float) -> Stroke:
    length = float(rng.uniform(0.25, 0.45)) * damp
    samples = int(1.2 * length * rate)

    def stroke(hard: float) -> Array:
        tone = np.sin(_swept(samples, rate, base, base * 0.45 * hard, 0.04)).astype(np.float32)
        modes = partials(base * np.array([1.59, 2.3]), [0.25, 0.12], 18.0 / length, samples, rate)
        stick = shaped_noise(rng, samples, rate, low=500.0, high=4000.0)
        mixed = tone * decay(samples, rate, 1.2 * length) + modes
        mixed += 0.2 * hard * stick * decay(samples, rate, 0.06)
        return gate(mixed, rate, attack=0.0008, release=0.05)

    return stroke


def _metal_recipe(rng: np.random.Generator, rate: int, length: float, low: float) -> Stroke:
    """Hats, ride and crash: a cloud of inharmonic partials under hiss, higher ones dying sooner."""
    samples = int(min(2.5, 1.25 * length + 0.02) * rate)
    freq = low * np.exp(rng.uniform(-0.3, 1.3, 48))
    bell = rng.uniform(0.02, 0.12, 48)
    hiss = float(rng.uniform(0.3, 0.7))

    def stroke(hard: float) -> Array:
        fall = 6.9 / (length * (0.6 + 0.4 * hard)) * (0.7 + 0.5 * freq / freq.mean())
        ring = partials(freq, bell, fall, samples, rate, rng.uniform(0.0, 6.28, 48))
        air = shaped_noise(rng, samples, rate, low=low, high=9000.0 + 6000.0 * hard)
        mixed = ring + hiss * air * (
            decay(samples, rate, 0.7 * length) + 0.3 * decay(samples, rate, 0.05)
        )
        return gate(mixed, rate, attack=0.0008, release=0.3 * length)

    return stroke


def _clap_recipe(rng: np.random.Generator, rate: int) -> Stroke:
    samples = int(0.3 * rate)
    gaps = (np.array([0.0, 0.011, 0.021, 0.033]) * rng.uniform(0.8, 1.2) * rate).astype(int)

    def stroke(hard: float) -> Array:
        envelope = 0.5 * decay(samples, rate, 0.22)
        for gap in gaps:
            envelope[gap:] = np.maximum(envelope[gap:], decay(samples - int(gap), rate, 0.03))
        noise = shaped_noise(rng, samples, rate, low=900.0, high=3000.0 + 2000.0 * hard)
        return gate(0.6 * noise * envelope, rate, attack=0.0008, release=0.05)

    return stroke


def _shaker_recipe(rng: np.random.Generator, rate: int) -> Stroke:
    samples = int(0.1 * rate)

    def stroke(hard: float) -> Array:
        noise = shaped_noise(rng, samples, rate, low=4500.0, high=8000.0 + 4000.0 * hard)
        return gate(0.6 * noise, rate, attack=0.03, release=0.06)

    return stroke
