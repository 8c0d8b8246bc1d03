"""Sound generators that the demo's instruments share: partials, shaped noise, gates, placing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

Array = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

BLOCK = 512


def hertz(note: npt.ArrayLike) -> Wide:
    """Frequency in Hz of MIDI notes, fractions too; equal temperament with A4 at 440 Hz."""
    return 440.0 * 2.0 ** ((np.asarray(note, dtype=np.float64) - 69.0) / 12.0)


def partials(
    frequencies: npt.ArrayLike,
    amplitudes: npt.ArrayLike,
    decays: npt.ArrayLike,
    samples: int,
    rate: int,
    phases: npt.ArrayLike = 0.0,
) -> Array:
    """Sum of exponentially decaying sines; frequencies in Hz, decays in 1/s, phases in radians.

    A damped sine at sample `m * BLOCK + n` is the product of its value at `m * BLOCK` and at `n`,
    so the sum over partials is one matrix product. Partials above 0.45 of the rate are left out.
    """
    freq, amplitude, decay, phase = np.broadcast_arrays(
        np.asarray(frequencies, dtype=np.float64), amplitudes, decays, phases
    )
    keep = (freq < 0.45 * rate) & (np.abs(amplitude) > 1e-5)
    pole = (2j * np.pi * freq[keep] - decay[keep]) / rate
    start = amplitude[keep] * np.exp(1j * phase[keep])
    # Products this small stay on one thread of the BLAS: busy cores do not slow each other down.
    rows = max(1, 200_000 // (BLOCK * max(1, len(pole))))
    blocks = np.arange(-(-samples // (BLOCK * rows)) * rows).reshape(-1, rows, 1)
    coarse = (start * np.exp(pole * (BLOCK * blocks))).astype(np.complex64)
    fine = np.exp(pole[:, None] * np.arange(BLOCK)).astype(np.complex64)
    real = coarse.real @ fine.imag + coarse.imag @ fine.real
    return np.asarray(real, dtype=np.float32).reshape(-1)[:samples]


def ramp(samples: int) -> Array:
    """Raised-cosine rise from just above 0 to just below 1."""
    turn = (np.arange(samples, dtype=np.float32) + 0.5) / max(samples, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * turn), dtype=np.float32)


def gate(sound: Array, rate: int, *, attack: float, release: float) -> Array:
    """Rises in the first `attack` seconds and falls to silence in the last `release` seconds."""
    samples = sound.shape[-1]
    rise = min(int(attack * rate) + 1, samples // 2)
    fall = min(int(release * rate) + 1, samples - rise)
    envelope = np.ones(samples, dtype=np.float32)
    envelope[:rise] = ramp(rise)
    envelope[samples - fall :] = ramp(fall)[::-1]
    return sound * envelope


def shaped_noise(
    rng: np.random.Generator, samples: int, rate: int, *, low: float, high: float
) -> Array:
    """White noise between two soft edges in Hz, at a root-mean-square level of 1."""
    # Only some lengths are quick to transform: a little more is made and cut off.
    size = fft.next_fast_len(samples, real=True)
    spectrum = fft.rfft(rng.standard_normal(size, dtype=np.float32))
    freq = np.arange(len(spectrum), dtype=np.float32) * (rate / size) + 1.0
    # Slopes of 24 dB an octave below and 12 dB above: softer than any brick wall, so nothing rings.
    response = 1.0 / np.sqrt((1.0 + (low / freq) ** 8) * (1.0 + (freq / high) ** 4))
    noise = fft.irfft(spectrum * response, size)[:samples]
    return np.asarray(noise / (np.sqrt(np.mean(noise**2)) + 1e-9), dtype=np.float32)


def decay(samples: int, rate: int, seconds: float) -> Array:
    """Exponential envelope that falls by 60 dB in the given seconds."""
    return np.exp(np.arange(samples, dtype=np.float32) * np.float32(-6.9078 / (seconds * rate)))


def place(track: Array, sound: Array, at: int, gain: float | Array = 1.0) -> None:
    """Adds a sound (samples) to a track (channels, samples) in place; what hangs over is cut.

    A gain of shape (channels, 1) pans the sound.
    """
    begin = max(at, 0)
    end = min(at + sound.shape[-1], track.shape[-1])
    if begin < end:
        track[:, begin:end] += gain * sound[..., begin - at : end - at]


def pan(position: float) -> Array:
    """Equal-power gains of two channels, from -1 (left) over 0 to 1 (right); Shape: (2, 1)."""
    angle = (position + 1.0) * np.pi / 4.0
    return np.asarray([[np.cos(angle)], [np.sin(angle)]], dtype=np.float32)
