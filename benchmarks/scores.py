"""BSSEval v4 of sepexp against museval, in one run: time, memory, and how far the numbers differ.

    python benchmarks/scores.py              10, 30, 60 and 180 s: about ten minutes

Four stereo sources at 44.1 kHz, window and hop one second, float64. Every measurement has a process
of its own, in which nothing but the inputs has been loaded; "extra" memory is the peak above that.
The two take turns, and each figure is the median of its rounds (of one at 180 s, which is long).
On a shared machine compare CPU times, which do not count the others' work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

RATE = 44_100
SOURCES, CHANNELS = 4, 2
METRICS = ("SDR", "ISR", "SIR", "SAR")
TEST_SET = 50 * 240  # seconds: 50 tracks of four minutes
INF = 150.0  # dB above which a value is the rounding noise of a perfect estimate


def stems(seconds: int, rng: np.random.Generator) -> np.ndarray:
    """Vibrato, bursts, low tones and coloured noise in a room: (sources, samples, channels)."""
    samples = seconds * RATE
    clock = np.arange(samples) / RATE
    phase = 2 * np.pi * np.cumsum(220 + 6 * np.sin(2 * np.pi * 5 * clock)) / RATE
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 0.4 * clock)
    voice = swell * sum(np.sin(k * phase) / k for k in range(1, 9))
    bursts = rng.standard_normal(samples) * np.exp(-((clock * 2) % 1) * 12)
    tones = 55 * 2 ** (rng.integers(0, 12, seconds + 1) / 12)
    bass = np.sin(2 * np.pi * np.cumsum(tones[clock.astype(int)]) / RATE)
    noise = lfilter([1], [1, -0.95], rng.standard_normal(samples))
    room = np.exp(-np.arange(64) / 12)
    mono = [voice, bursts, bass + 0.01 * rng.standard_normal(samples), noise]
    out = np.empty((SOURCES, samples, CHANNELS))
    for source, signal in enumerate(mono):
        for channel in range(CHANNELS):
            response = room * rng.standard_normal(64)
            out[source, :, channel] = lfilter(response, 1, signal)
        out[source] *= 0.1 / out[source].std()
    # without the noise of a recording pure tones make the filters ill-defined, museval's too
    return out + 1e-4 * rng.standard_normal(out.shape)


def scene(seconds: int) -> tuple[np.ndarray, np.ndarray]:
    """References, and estimates with short filters, filtered leaks and noise on them."""
    rng = np.random.default_rng(seconds)
    references = stems(seconds, rng)
    estimates = np.empty_like(references)
    for source in range(SOURCES):
        leak = references.sum(axis=0) - references[source]
        for channel in range(CHANNELS):
            own = np.r_[1, 0.1 * rng.standard_normal(15)]
            others = 0.05 * rng.standard_normal(32)
            estimates[source, :, channel] = lfilter(own, 1, references[source, :, channel])
            estimates[source, :, channel] += lfilter(others, 1, leak[:, channel])
    estimates += 0.002 * rng.standard_normal(estimates.shape)
    return references, estimates


def memory(field: str) -> float:
    """VmRSS or VmHWM of this process in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def measure(side: str, folder: Path, threads: int) -> dict[str, float]:
    """Score once in this fresh process; the scores go to `<folder>/<side>.npy`."""
    if side == "museval":
        from sepexp.metric.museval_backend import bss_eval, load_museval

        load_museval()
    else:
        from functools import partial

        from sepexp.metric.bsseval import bss_eval as ours

        bss_eval = partial(ours, threads=threads)
    references, estimates = (np.load(folder / f"{name}.npy") for name in ("truth", "guess"))
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
    wall, cpu = time.perf_counter(), time.process_time()
    scores = bss_eval(references, estimates, RATE, RATE)
    spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    peak = memory("VmHWM")
    np.save(folder / f"{side}.npy", np.array(scores))
    return spent | {"peak": peak, "extra": peak - before}


def in_own_process(side: str, folder: Path, threads: int) -> dict[str, float]:
    """`measure` in a new Python."""
    command = [sys.executable, __file__, "--measure", side, str(folder), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def medians(measured: list[dict[str, float]]) -> dict[str, float]:
    """Every quantity's median over rounds."""
    return {key: statistics.median(one[key] for one in measured) for key in measured[0]}


def compare(folder: Path) -> tuple[float, bool]:
    """Largest difference in dB, and whether the NaN are the same."""
    ours, theirs = (np.load(folder / f"{side}.npy") for side in ("sepexp", "museval"))
    both = ~np.isnan(ours) & ~np.isnan(theirs) & ~((ours > INF) & (theirs > INF))
    difference = np.abs(ours[both] - theirs[both]).max(initial=0.0)
    return float(difference), bool((np.isnan(ours) == np.isnan(theirs)).all())


def row(seconds: int, threads: int, rounds: int) -> tuple[str, dict[str, float]]:
    """Measure one length: a line of the table, and seconds of computing per second of audio."""
    found: dict[str, list[dict[str, float]]] = {"sepexp": [], "museval": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for signals, file in zip(scene(seconds), ("truth", "guess"), strict=True):
            np.save(folder / f"{file}.npy", signals)
        for _ in range(rounds):
            for side, measured in found.items():
                measured.append(in_own_process(side, folder, threads))
        difference, same = compare(folder)
    ours, theirs = map(medians, found.values())
    cells = [
        f"{seconds} s",
        f"{theirs['wall']:.1f} / {theirs['cpu']:.1f}",
        f"{ours['wall']:.2f} / {ours['cpu']:.2f}",
        f"{theirs['wall'] / ours['wall']:.1f} / {theirs['cpu'] / ours['cpu']:.1f}",
        f"{theirs['extra']:.0f}",
        f"{ours['extra']:.0f}",
        f"{ours['extra'] / theirs['extra']:.2f}",
        f"{difference:.1e}",
        "yes" if same else "NO",
    ]
    rates = {
        f"{side} {clock}": result[clock] / seconds
        for side, result in (("museval", theirs), ("sepexp", ours))
        for clock in ("wall", "cpu")
    }
    return f"| {' | '.join(cells)} |", rates


def main() -> None:
    """Print the table and the extrapolation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 30, 60, 180])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        side, folder = given.measure
        print(json.dumps(measure(side, Path(folder), given.threads)))
        return
    heads = ["length", "museval wall / CPU s", "sepexp wall / CPU s", "ratio wall / CPU"]
    heads += ["museval extra MiB", "sepexp extra MiB", "ratio", "max abs dB", "same NaN"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    rates: dict[str, float] = {}
    for seconds in given.seconds:
        rounds = given.rounds if seconds < 120 else 1
        line, rates = row(seconds, given.threads, rounds)
        print(line, flush=True)
    print("\n50 tracks of 4 minutes, from the last row:")
    for name, rate in rates.items():
        print(f"  {name:13s} {rate * TEST_SET / 60:8.1f} min")


if __name__ == "__main__":
    main()
