"""Excerpts that runs kept of their test songs, brought together so that one can compare by ear."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sepexp import audio
from sepexp.report.runs import RunRecord

TRUTH, ESTIMATE = " truth.wav", " estimate.wav"


class Excerpt(NamedTuple):
    """One target of one song: mixture, truth, and what each run made of it.

    files: label -> wav file, mixture and truth first; all the same length.
    """

    song: str
    target: str
    files: dict[str, Path]


def find_excerpts(records: Sequence[RunRecord], songs: int) -> list[Excerpt]:
    """The excerpts of the first songs; runs share a player where their truth is the same audio.

    Runs that kept another part of a song get players of their own.
    """
    found: dict[tuple[str, str, str], Excerpt] = {}
    names: list[str] = []
    for record in records:
        for folder in sorted((record.folder / "audio" / "test").glob("*")):
            if not (folder / "mixture.wav").is_file():
                continue
            if folder.name not in names:
                if len(names) >= songs:
                    continue
                names.append(folder.name)
            for truth in sorted(folder.glob(f"*{TRUTH}")):
                target = truth.name.removesuffix(TRUTH)
                estimate = folder / f"{target}{ESTIMATE}"
                if not estimate.is_file():
                    continue
                # the samples, not the file: float wavs carry the time of their writing
                content = hashlib.sha256(audio.load(truth).tobytes()).hexdigest()
                excerpt = found.setdefault(
                    (folder.name, target, content),
                    Excerpt(
                        folder.name, target, {"mixture": folder / "mixture.wav", "truth": truth}
                    ),
                )
                excerpt.files[record.name] = estimate
    return sorted(found.values(), key=lambda one: names.index(one.song))


def read_excerpt(excerpt: Excerpt) -> tuple[dict[str, np.ndarray], int]:
    """The audio of all its files, cut to the shortest, and the sample rate in Hz.

    Shape:
        label -> (channels, samples) float32.

    Raises:
        UserError: A file is damaged.
    """
    rate = audio.info(excerpt.files["truth"]).rate
    arrays = {label: audio.as_float(audio.load(path)) for label, path in excerpt.files.items()}
    length = min(array.shape[-1] for array in arrays.values())
    return {label: array[:, :length] for label, array in arrays.items()}, rate


def sdr_over_time(truth: np.ndarray, estimate: np.ndarray, rate: int) -> list[float]:
    """Framewise SDR as BSSEval v4 has it, in seconds of one excerpt; NaN where one is silent.

    Shape:
        truth, estimate (channels, samples).
    """
    values = []
    for start in range(0, truth.shape[-1] - rate + 1, rate):
        part = truth[:, start : start + rate].astype(np.float64)
        guess = estimate[:, start : start + rate].astype(np.float64)
        silent = not part.sum(0).any() or not guess.sum(0).any()
        error = float(((guess - part) ** 2).sum())
        power = float((part**2).sum())
        values.append(math.nan if silent or error == 0 else 10 * math.log10(power / error))
    return values
