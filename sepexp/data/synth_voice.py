"""The demo's singer: a glottal wave and noise through formants that move with the syllables.

Source and filter after Fant, Acoustic Theory of Speech Production (1960); formant frequencies of
the vowels as measured by Peterson and Barney (1952).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from sepexp.data.synth_melody import Phrase, Syllable, draw_melody
from sepexp.data.synth_score import Score
from sepexp.data.synth_tone import Array, Wide, hertz, pan, place

HOP, WINDOW, SIZE = 512, 1024, 2048
CONTROL = 64
TABLE = 4096
LEAD = 0.4
TAIL = 0.15

# First three formants in Hz of a male voice.
FORMANTS = {
    "i": (270.0, 2290.0, 3010.0),
    "e": (530.0, 1840.0, 2480.0),
    "ae": (660.0, 1720.0, 2410.0),
    "a": (730.0, 1090.0, 2440.0),
    "uh": (640.0, 1190.0, 2390.0),
    "o": (570.0, 840.0, 2410.0),
    "u": (300.0, 870.0, 2240.0),
    "m": (250.0, 1050.0, 2200.0),
    "n": (260.0, 1450.0, 2300.0),
    "l": (360.0, 1000.0, 2700.0),
    "w": (300.0, 640.0, 2250.0),
    "y": (270.0, 2250.0, 3000.0),
}
# Noise of a consonant: centre in Hz, width in octaves, seconds, level; stops are silent before it.
NOISES = {
    "s": (7200.0, 0.45, 0.11, 0.30),
    "sh": (3600.0, 0.55, 0.11, 0.28),
    "f": (6000.0, 1.6, 0.09, 0.10),
    "h": (1800.0, 1.2, 0.07, 0.12),
    "t": (4800.0, 0.8, 0.022, 0.35),
    "k": (2000.0, 0.6, 0.028, 0.32),
    "p": (900.0, 1.0, 0.020, 0.30),
}
STOPS = ("t", "k", "p")
# Seconds and level of consonants that the voice itself carries.
VOICED = {"m": (0.08, 0.4), "n": (0.07, 0.45), "l": (0.06, 0.6), "w": (0.07, 0.6), "y": (0.06, 0.7)}


@dataclass(frozen=True)
class Voice:
    """One singer; centre in MIDI, vibrato in Hz and semitones, glide in s, scoop in semitones."""

    centre: int
    tract: float
    tilt: float
    breath: float
    vibrato_rate: float
    vibrato_depth: float
    glide: float
    scoop: float
    upper: tuple[float, float]


def play_vocals(rng: np.random.Generator, score: Score, rate: int) -> Array:
    """Sings the song: a centred lead, in some a quieter harmony in the chorus; (2, samples)."""
    track = np.zeros((2, int(round(score.seconds * rate))), dtype=np.float32)
    voice = _draw_voice(rng)
    harmony = bool(rng.random() < 0.3)
    sides = (float(rng.uniform(-0.7, -0.3)), float(rng.uniform(0.3, 0.7)))
    table = _glottal_table(voice.tilt)
    for number, phrase in enumerate(draw_melody(rng, score, voice.centre)):
        _sing_onto(rng, track, phrase, voice, table, 1.0, 0.0, rate)
        if harmony and phrase.chorus:
            second = _harmony(phrase, score)
            _sing_onto(rng, track, second, voice, table, 0.25, sides[number % 2], rate)
    return track


def _draw_voice(rng: np.random.Generator) -> Voice:
    high = bool(rng.random() < 0.5)
    return Voice(
        centre=int(rng.integers(62, 68) if high else rng.integers(51, 58)),
        tract=float(rng.uniform(1.12, 1.22) if high else rng.uniform(0.96, 1.06)),
        tilt=float(rng.uniform(0.75, 1.25)),
        breath=float(rng.uniform(0.01, 0.06)),
        vibrato_rate=float(rng.uniform(5.0, 6.2)),
        vibrato_depth=float(rng.uniform(0.35, 0.75)),
        glide=float(rng.uniform(0.05, 0.12)),
        scoop=float(rng.uniform(0.5, 2.0)),
        upper=(float(rng.uniform(3200.0, 3600.0)), float(rng.uniform(4100.0, 4700.0))),
    )


def _harmony(phrase: Phrase, score: Score) -> Phrase:
    """The same words two steps of the scale lower."""
    ladder = [note for note in range(24, 108) if (note - score.key) % 12 in score.scale]
    lower = {note: ladder[spot - 2] for spot, note in enumerate(ladder)}
    moved = [
        Syllable(one.begin, one.length, lower[one.note], one.vowel, one.consonant, one.loud)
        for one in phrase.syllables
    ]
    return Phrase(tuple(moved), phrase.chorus)


def _sing_onto(
    rng: np.random.Generator,
    track: Array,
    phrase: Phrase,
    voice: Voice,
    table: Array,
    gain: float,
    side: float,
    rate: int,
) -> None:
    begin = phrase.syllables[0].begin - LEAD
    sound = _sing(rng, phrase.syllables, voice, table, rate)
    at = int(begin * rate)
    place(track, sound, at, gain * pan(side))


def _sing(
    rng: np.random.Generator,
    syllables: tuple[Syllable, ...],
    voice: Voice,
    table: Array,
    rate: int,
) -> Array:
    """One phrase, from the breath before it to the end of its last note; Shape: (samples,)."""
    start = syllables[0].begin - LEAD
    seconds = syllables[-1].begin + syllables[-1].length - start + TAIL
    points = int(np.ceil(seconds * rate / CONTROL))
    samples = points * CONTROL
    clock = np.arange(points) * CONTROL / rate + start
    pitch = _pitch(rng, syllables, voice, clock)
    level = _level(rng, syllables, clock)
    frames = samples // HOP + 1
    vowels = _formants(syllables, voice, np.arange(frames) * HOP / rate + start)
    lowest = np.interp(np.arange(frames) * HOP / CONTROL, np.arange(points), pitch)
    # Singers raise the first formant where the note lies above it, or the note would vanish.
    vowels[:, 0] = np.maximum(vowels[:, 0], 1.05 * lowest)
    fine = np.arange(samples) / CONTROL
    freq = np.interp(fine, np.arange(points), pitch)
    loud = np.interp(fine, np.arange(points), level).astype(np.float32)
    phase = np.cumsum(freq) / rate
    noise = rng.standard_normal(samples).astype(np.float32)
    # Air escapes while the folds are open: breath is loudest in one half of each period.
    breath = noise * voice.breath * (0.6 + 0.4 * np.sin(2.0 * np.pi * phase).astype(np.float32))
    source = (_wave(table, phase, freq) + breath) * loud
    inhale = _inhale(rng, samples, rate) * noise
    voiced = _filter(source + inhale, _tract_response(vowels, rate))
    sung = np.abs(voiced[:: CONTROL // 8])
    # Consonants stand at fixed levels beside the voice, whatever the formants amplify.
    voiced *= np.float32(0.2) / np.sqrt(np.mean(sung[sung > 0.1 * sung.max()] ** 2))
    hiss, bands = _consonants(syllables, start, samples, frames, rate)
    spoken = _filter(hiss * noise, _band_response(bands, rate))
    return voiced + spoken


def _pitch(
    rng: np.random.Generator, syllables: tuple[Syllable, ...], voice: Voice, clock: Wide
) -> Wide:
    """Fundamental in Hz: notes joined by glides, scoops from below, vibrato that sets in late."""
    step = clock[1] - clock[0]
    begins = np.array([one.begin for one in syllables])
    current = np.clip(np.searchsorted(begins, clock, side="right") - 1, 0, None)
    notes = np.array([float(one.note) for one in syllables])[current]
    since = clock - begins[current]
    scoops = voice.scoop * (rng.random(len(syllables)) < 0.4)
    scoops[0] = voice.scoop
    notes = notes - scoops[current] * np.exp(-np.maximum(since, 0.0) / 0.05) * (since >= 0.0)
    width = max(3, int(voice.glide / step))
    kernel = np.hanning(width + 2)[1:-1]
    padded = np.pad(notes, (width // 2, width - width // 2 - 1), mode="edge")
    notes = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    long = np.array([one.length > 0.3 for one in syllables])[current]
    grown = np.clip((since - 0.15) / 0.3, 0.05, 1.0) * np.where(long, 1.0, 0.25)
    drift = _slow_noise(rng, len(clock), int(0.25 / step))
    turns = voice.vibrato_rate * (1.0 + 0.04 * drift)
    vibrato = voice.vibrato_depth * grown * np.sin(2.0 * np.pi * np.cumsum(turns) * step)
    wander = 0.06 * _slow_noise(rng, len(clock), int(0.08 / step))
    return hertz(notes + vibrato + wander)


def _slow_noise(rng: np.random.Generator, points: int, every: int) -> Wide:
    """Random values of spread 1, one in `every` points, joined by lines."""
    every = max(every, 1)
    knots = rng.standard_normal(points // every + 2)
    return np.interp(np.arange(points) / every, np.arange(len(knots)), knots)


def _level(rng: np.random.Generator, syllables: tuple[Syllable, ...], clock: Wide) -> Wide:
    """Loudness of the voice: swells, closures of consonants, silence around the phrase."""
    level = np.zeros(len(clock))
    for number, one in enumerate(syllables):
        following = syllables[number + 1] if number + 1 < len(syllables) else None
        end = one.begin + one.length
        legato = following is not None and following.begin - end < 0.12
        if following is not None and legato:
            end = following.begin - _closure(following.consonant)
        rise = 0.025 if one.consonant else 0.05
        fall = 0.03 if legato else 0.09
        inside = np.clip((clock - one.begin) / rise + 0.5, 0, 1) * np.clip(
            (end - clock) / fall, 0, 1
        )
        middle = np.clip((clock - one.begin) / max(one.length, 0.05), 0.0, 1.0)
        shape = one.loud * (0.8 + 0.2 * np.sin(np.pi * middle))
        level = np.maximum(level, shape * inside)
        if one.consonant in VOICED:
            seconds, amount = VOICED[one.consonant]
            before = (clock > one.begin - seconds) & (clock <= one.begin + 0.01)
            level = np.where(before, np.maximum(level, amount * one.loud), level)
    width = max(3, int(0.02 / (clock[1] - clock[0])))
    kernel = np.hanning(width + 2)[1:-1]
    level = np.convolve(level, kernel / kernel.sum(), mode="same")
    return level * (1.0 + 0.05 * _slow_noise(rng, len(clock), 8))


def _closure(consonant: str) -> float:
    """Seconds before a vowel in which the voice is off or, for voiced consonants, low."""
    if consonant in STOPS:
        return NOISES[consonant][2] + 0.045
    if consonant in NOISES:
        return NOISES[consonant][2]
    return VOICED[consonant][0] if consonant else 0.0


def _formants(syllables: tuple[Syllable, ...], voice: Voice, clock: Wide) -> Wide:
    """Formant frequencies in Hz; each moves to its next target within about 60 ms. (frames, 5)."""
    times, targets = [], []
    for one in syllables:
        if one.consonant in FORMANTS:
            times.append(one.begin - VOICED[one.consonant][0])
            targets.append(FORMANTS[one.consonant])
        times.append(one.begin - (0.03 if one.consonant not in FORMANTS else 0.0))
        targets.append(FORMANTS[one.vowel])
    current = np.clip(np.searchsorted(times, clock, side="right") - 1, 0, None)
    moving = np.array(targets)[current]
    kernel = np.hanning(7)[1:-1] / np.hanning(7).sum()
    padded = np.pad(moving, ((2, 2), (0, 0)), mode="edge")
    smooth = sum(weight * padded[at : at + len(moving)] for at, weight in enumerate(kernel))
    upper = np.broadcast_to(voice.upper, (len(clock), 2))
    return np.asarray(np.concatenate([smooth, upper], axis=1) * voice.tract)


def _tract_response(formants: Wide, rate: int) -> np.ndarray:
    """Resonances in a row, as in a vocal tract; Shape: (frames, SIZE // 2 + 1)."""
    freq = np.linspace(0.0, rate / 2.0, SIZE // 2 + 1, dtype=np.float32)
    response = np.ones((len(formants), len(freq)), dtype=np.complex64)
    bandwidths = (75.0, 95.0, 150.0, 260.0, 380.0)
    for centre, bandwidth in zip(formants.T.astype(np.float32), bandwidths, strict=True):
        square = (centre**2)[:, None]
        response *= square / (square - freq**2 + 1j * np.float32(bandwidth) * freq)
    # Five resonances alone would lose the air of a close microphone above 5 kHz.
    return response * (1.0 + (freq / 3500.0) ** 2) ** np.float32(0.9)


def _band_response(bands: Wide, rate: int) -> np.ndarray:
    """Bumps on an octave scale for consonant noise; Shape: (frames, SIZE // 2 + 1)."""
    freq = np.linspace(0.0, rate / 2.0, SIZE // 2 + 1, dtype=np.float32) + 1.0
    centre, width = bands.T[:, :, None].astype(np.float32)
    return np.asarray(np.exp(-((np.log2(freq / centre) / width) ** 2)))


def _filter(source: Array, response: np.ndarray) -> Array:
    """Filters each frame of a signal by its own response and overlaps the frames again."""
    samples, frames = len(source), len(response)
    padded = np.pad(source, (HOP, frames * HOP + HOP - samples))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    filtered = fft.irfft(fft.rfft(windows * hann, SIZE) * response, SIZE)
    total = np.zeros((frames + SIZE // HOP, HOP), dtype=np.float32)
    for part in range(SIZE // HOP):
        total[part : frames + part] += filtered[:, part * HOP : (part + 1) * HOP]
    return total.reshape(-1)[HOP : HOP + samples]


def _consonants(
    syllables: tuple[Syllable, ...], start: float, samples: int, frames: int, rate: int
) -> tuple[Array, Wide]:
    """Envelope of the consonants' noise (samples) and its band in each frame (frames, 2)."""
    envelope = np.zeros(samples, dtype=np.float32)
    bands = np.tile([3000.0, 1.0], (frames, 1))
    for one in syllables:
        if one.consonant not in NOISES:
            continue
        centre, width, seconds, loud = NOISES[one.consonant]
        length = int(seconds * rate)
        at = int((one.begin - start - seconds) * rate)
        turn = np.linspace(0.0, 1.0, length, dtype=np.float32)
        stop = one.consonant in STOPS
        shape = np.minimum(turn * 20, np.exp(-4.0 * turn)) if stop else np.sin(3.14 * turn)
        envelope[at : at + length] = loud * one.loud * shape
        first, last = at // HOP - 1, (at + length) // HOP + 2
        bands[max(first, 0) : last] = (centre, width)
    return envelope, bands


def _inhale(rng: np.random.Generator, samples: int, rate: int) -> Array:
    """Envelope of the breath taken before a phrase."""
    envelope = np.zeros(samples, dtype=np.float32)
    length = int(rng.uniform(0.15, 0.28) * rate)
    if rng.random() < 0.75:
        turn = np.linspace(0.0, 1.0, length, dtype=np.float32)
        envelope[:length] = rng.uniform(0.004, 0.02) * np.sin(np.pi * turn) ** 2
    return envelope


def _glottal_table(tilt: float) -> Array:
    """One period of the glottal wave with 1, 1, 2, 2, 4 ... 181 harmonics; (levels, TABLE + 1)."""
    number = np.arange(TABLE // 2 + 1)
    most = np.floor(2.0 ** (np.arange(16) / 2.0))[:, None]
    sines = -0.5j * TABLE * (number > 0) / np.maximum(number, 1) ** tilt
    period = fft.irfft(np.where(number <= most, sines, 0.0), TABLE, axis=1)
    return np.asarray(np.pad(period, ((0, 0), (0, 1)), mode="wrap"), dtype=np.float32)


def _wave(table: Array, phase: Wide, freq: Wide) -> Array:
    """Reads the table so that no harmonic passes 16 kHz, fading between neighbouring levels."""
    level = np.clip(2.0 * np.log2(11000.0 / freq), 0.0, len(table) - 1.001)
    floor = level.astype(np.int64)
    fade = (level - floor).astype(np.float32)
    spot = (phase % 1.0) * TABLE
    index = spot.astype(np.int64)
    part = (spot - index).astype(np.float32)
    flat = table.reshape(-1)
    base = floor * (TABLE + 1) + index
    fewer = flat[base] * (1 - part) + flat[base + 1] * part
    base += TABLE + 1
    more = flat[base] * (1 - part) + flat[base + 1] * part
    return np.asarray(fewer * (1 - fade) + more * fade, dtype=np.float32)
