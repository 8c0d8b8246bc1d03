"""museval's JSON layout for framewise scores, readable by `museval.EvalStore.add_eval_dir`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sepexp.errors import UserError

DEFINITION = "0.4.1"  # the museval version whose definitions the numbers follow
STEP = Decimal("0.00001")


class FrameScores(Protocol):
    """What `bsseval.bss_eval` returns: four arrays (sources, frames)."""

    @property
    def sdr(self) -> np.ndarray: ...
    @property
    def isr(self) -> np.ndarray: ...
    @property
    def sir(self) -> np.ndarray: ...
    @property
    def sar(self) -> np.ndarray: ...


def track_scores(
    targets: list[str], scores: FrameScores, window: float, hop: float
) -> dict[str, Any]:
    """One track in museval's layout: values rounded to 5 decimals, infinite ones as NaN.

    Args:
        targets: names in the order of the scores' first axis.
        window, hop: in seconds.

    Raises:
        UserError: another number of names than of scored sources.
    """
    if len(targets) != len(scores.sdr):
        raise UserError(f"{len(targets)} target names for {len(scores.sdr)} scored sources.")

    def frame(source: int, index: int) -> dict[str, Any]:
        tables = {"SDR": scores.sdr, "SIR": scores.sir, "SAR": scores.sar, "ISR": scores.isr}
        values = {name: _rounded(float(table[source, index])) for name, table in tables.items()}
        return {"time": index * hop, "duration": window, "metrics": values}

    frames = scores.sdr.shape[1]
    return {
        "targets": [
            {"name": name, "frames": [frame(source, index) for index in range(frames)]}
            for source, name in enumerate(targets)
        ],
        "museval_version": DEFINITION,
    }


def write_track(
    folder: str | Path,
    subset: str,
    track: str,
    targets: list[str],
    scores: FrameScores,
    window: float,
    hop: float,
) -> Path:
    """Write `<folder>/<subset>/<track>.json`; museval's stores read the subset "test" only.

    Not strict JSON: missing values are the bare word NaN, as museval writes and reads them.
    A path separator in the track's name becomes an underscore.
    """
    path = Path(folder) / subset / f"{track.replace('/', '_').replace(chr(92), '_')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(track_scores(targets, scores, window, hop), indent=2, allow_nan=True)
    path.write_text(content, encoding="utf-8")
    return path


def read_track(path: str | Path) -> dict[str, dict[str, np.ndarray]]:
    """Framewise scores of a track file, written here or by museval: target -> metric -> (frames,).

    Raises:
        UserError: the file is not in museval's layout.
    """
    try:
        content: Mapping[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return {
            target["name"]: {
                name: np.array([frame["metrics"][name] for frame in target["frames"]], dtype=float)
                for name in ("SDR", "ISR", "SIR", "SAR")
            }
            for target in content["targets"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a museval track file: {error!r}.") from error


def _rounded(value: float) -> float:
    # Decimal rounds the binary value half to even, which float formatting would not promise
    return float(Decimal(value).quantize(STEP)) if math.isfinite(value) else math.nan
