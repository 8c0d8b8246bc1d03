"""Pitch and tempo of a 6 s stereo chunk on one core: ours against whatever peers are installed.

CPU milliseconds, child processes counted, best of interleaved rounds. A `soundstretch` that is not
on the PATH is named by the environment variable SOUNDSTRETCH.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable

import numpy as np

from sepexp.dsp import resample, stretch

RATE = 44100
FRAMES = 6 * RATE
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
CHANGES = ((1.0, 2.0), (1.0, -2.0), (1.12, 0.0), (0.88, 0.0), (1.06, -1.0))
Peer = Callable[[np.ndarray, float, float], object]


def chunk(samples: int) -> np.ndarray:
    """A chord, decaying noise bursts every quarter of a second, two different channels."""
    generator = np.random.default_rng(0)
    time = np.arange(samples) / RATE
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (55, 110, 220, 277.2, 329.6, 659.3))
    hits = generator.standard_normal((2, samples)) * np.exp(-(time % 0.25) / 0.03)
    return (0.05 * chord + 0.2 * hits).astype(np.float32)


def ours(audio: np.ndarray, tempo: float, semitones: float) -> np.ndarray:
    return stretch.change(audio, tempo=tempo, semitones=semitones, frames=FRAMES)


def ours_speed(audio: np.ndarray, tempo: float, semitones: float) -> np.ndarray:
    """Pitch and tempo together, by resampling alone."""
    return resample.resample(audio, tempo * 2 ** (semitones / 12), FRAMES)


def soundstretch(program: str) -> Peer:
    """The process and the two 16-bit files that its users, Demucs among them, need."""

    def run(audio: np.ndarray, tempo: float, semitones: float) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            source, target = f"{folder}/in.wav", f"{folder}/out.wav"
            with wave.open(source, "wb") as file:
                file.setparams((2, 2, RATE, 0, "NONE", ""))
                file.writeframes((audio.T * 32767).astype("<i2").tobytes())
            change = [f"-tempo={100 * (tempo - 1)}", f"-pitch={semitones}"]
            subprocess.run([program, source, target, *change], check=True, capture_output=True)
            with wave.open(target) as file:
                samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.reshape(-1, 2).T / np.float32(32768)

    return run


def torchaudio_peer() -> Peer:
    import torch
    import torchaudio.functional as functional

    torch.set_num_threads(1)

    def run(audio: np.ndarray, tempo: float, semitones: float) -> object:
        signal = torch.from_numpy(audio)
        if tempo == 1:
            return functional.pitch_shift(signal, RATE, semitones, n_fft=2048)
        window = torch.hann_window(2048)
        spectra = torch.stft(signal, 2048, 512, window=window, return_complex=True)
        advance = torch.linspace(0, np.pi * 512, 1025)[:, None]
        slower = functional.phase_vocoder(spectra, tempo, advance)
        stretched = torch.istft(slower, 2048, 512, window=window)
        return functional.pitch_shift(stretched, RATE, semitones, n_fft=2048) if semitones else 0

    return run


def librosa_peer() -> Peer:
    import librosa

    def run(audio: np.ndarray, tempo: float, semitones: float) -> object:
        if tempo != 1:
            audio = librosa.effects.time_stretch(audio, rate=tempo)
        if semitones:
            audio = librosa.effects.pitch_shift(audio, sr=RATE, n_steps=semitones)
        return audio

    return run


def peers() -> dict[str, Peer]:
    found: dict[str, Peer] = {"sepexp stretch.change": ours, "sepexp speed (resample)": ours_speed}
    program = shutil.which(os.environ.get("SOUNDSTRETCH", "soundstretch"))
    if program:
        found["soundstretch, a process"] = soundstretch(program)
    for name, make in (("torchaudio", torchaudio_peer), ("librosa", librosa_peer)):
        if importlib.util.find_spec(name):
            found[f"{name} phase vocoder"] = make()
    return found


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # read once, when numpy is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    found = peers()
    audio = chunk(int(FRAMES * 1.3))
    best = {(name, change): np.inf for name in found for change in CHANGES}
    for done in range(rounds):
        for (name, (tempo, semitones)), least in best.items():
            if done >= 2 and least > 100:
                continue  # twice is enough to know how slow it is
            needed = stretch.frames_needed_for(FRAMES, tempo=tempo, semitones=semitones)
            read = needed if found[name] is not ours_speed else audio.shape[1]
            start = cpu_seconds()
            found[name](audio[:, :read], tempo, semitones)
            best[name, (tempo, semitones)] = min(least, 1000 * (cpu_seconds() - start))
    titles = [f"x{tempo:g} {semitones:+g} st" for tempo, semitones in CHANGES]
    print(f"CPU ms for 6 s of stereo at 44.1 kHz, best of {rounds}")
    print(" " * 28 + "".join(f"{title:>14}" for title in titles))
    for name in found:
        print(f"{name:28}" + "".join(f"{best[name, change]:14.2f}" for change in CHANGES))
    missing = {"soundstretch", "torchaudio", "librosa"} - {
        name.split()[0].strip(",") for name in found
    }
    if missing:
        print("not installed here: " + ", ".join(missing))


if __name__ == "__main__":
    main()
