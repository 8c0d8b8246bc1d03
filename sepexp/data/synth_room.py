"""The demo's mixing desk: a small room, level balance, headroom, 16 bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from sepexp.data.synth_tone import Array, ramp, shaped_noise


def room(rng: np.random.Generator, rate: int, *, seconds: float, bright: float) -> Array:
    """Impulse response of a small room: late noise, decaying, a different one for each channel.

    It ends in true silence after `seconds`, so that pauses are silent too. Shape: (2, samples).
    """
    samples = int(seconds * rate)
    time = np.arange(samples, dtype=np.float32) / samples
    sides = []
    for _ in range(2):
        high = shaped_noise(rng, samples, rate, low=200.0, high=bright)
        dark = shaped_noise(rng, samples, rate, low=150.0, high=bright / 4.0)
        # Walls and air swallow the high end first: the tail darkens.
        late = high * np.exp(-9.0 * time) + dark * np.exp(-5.5 * time)
        early = np.zeros(samples, dtype=np.float32)
        spots = (np.sort(rng.uniform(0.004, 0.045, 6)) * rate).astype(int)
        early[spots[spots < samples]] = 6.0 * rng.uniform(-1.0, 1.0, int((spots < samples).sum()))
        sides.append(late + early)
    response = np.stack(sides) * np.minimum(1.0, time / 0.03)
    response[:, -samples // 5 :] *= ramp(len(response[0, -samples // 5 :]))[::-1]
    # A gain of 1 on average where voices and chords lie, so that `wet` means the same in each room.
    power = np.abs(fft.rfft(response, fft.next_fast_len(samples, real=True), axis=1)) ** 2
    middle = slice(int(0.01 * power.shape[1]), int(0.1 * power.shape[1]))
    norm = np.sqrt(power[:, middle].mean(axis=1, keepdims=True))
    return np.asarray(response / norm, dtype=np.float32)


def reverberate(stem: Array, response: Array, wet: float) -> Array:
    """Adds the room to a stem (channels, samples); the length stays."""
    samples = stem.shape[1]
    tail = signal.oaconvolve(stem, response, axes=1)[:, :samples]
    return np.asarray(stem + np.float32(wet) * tail, dtype=np.float32)


def without_dc(stem: Array, rate: int) -> Array:
    """High-pass at 25 Hz, second order: nothing below hearing eats headroom."""
    sections = signal.butter(2, 25.0, "highpass", fs=rate, output="sos").astype(np.float32)
    return np.asarray(signal.sosfilt(sections, stem, axis=1), dtype=np.float32)


def duck(stem: Array, trigger: Array, depth: float, rate: int) -> Array:
    """Turns a stem down, by up to `depth` of its level, while the trigger is loud below 120 Hz.

    The filters run both ways: like a compressor that looks ahead, it is down when the beat comes.
    """
    low = signal.butter(1, 120.0, fs=rate, output="sos").astype(np.float32)
    slow = signal.butter(1, 10.0, fs=rate, output="sos").astype(np.float32)
    beats = np.abs(signal.sosfilt(low, trigger.mean(axis=0)))
    loudness = signal.sosfilt(slow, signal.sosfilt(slow, beats)[::-1])[::-1]
    share = np.clip(1.6 * loudness / max(float(loudness.max()), 1e-9), 0.0, 1.0)
    return np.asarray(stem * (1.0 - np.float32(depth) * share), dtype=np.float32)


def make_way(stem: Array, cut: float, rate: int) -> Array:
    """Takes up to `cut` dB out of the octaves around 1.1 kHz, where a voice carries its vowels."""
    band = signal.butter(1, [500.0, 2400.0], "bandpass", fs=rate, output="sos").astype(np.float32)
    share = np.float32(1.0 - 10.0 ** (-cut / 20.0))
    return np.asarray(stem - share * signal.sosfilt(band, stem, axis=1), dtype=np.float32)


def sounding_level(stem: Array, rate: int) -> float:
    """Root-mean-square level over the 50 ms frames that lie within 40 dB of the loudest one."""
    frame = max(1, min(stem.shape[1], rate // 20))
    usable = stem[:, : stem.shape[1] // frame * frame]
    power = (usable.reshape(stem.shape[0], -1, frame) ** 2).mean(axis=(0, 2))
    loud = power[power > 1e-4 * power.max()]
    return float(np.sqrt(loud.mean())) if len(loud) else 0.0


def master(
    stems: dict[str, Array], levels: dict[str, float], peak: float, rate: int
) -> dict[str, npt.NDArray[np.int16]]:
    """Balances stems to levels in dB while they sound, scales to the peak, rounds to 16 bits.

    The loudest of the mixture and of each stem meets `peak` (1 is full scale), so neither a stem
    nor the sum of the rounded stems clips. There is no dither: silence stays zero.
    """
    balanced = {}
    for name, stem in stems.items():
        level = sounding_level(stem, rate)
        gain = 10.0 ** (levels[name] / 20.0) / level if level > 0.0 else 0.0
        balanced[name] = stem * np.float32(gain)
    mixture = np.sum(list(balanced.values()), axis=0)
    loudest = max(float(np.abs(wave).max()) for wave in (mixture, *balanced.values()))
    scale = np.float32(32767.0 * peak / max(loudest, 1e-9))
    return {name: np.round(stem * scale).astype(np.int16) for name, stem in balanced.items()}
