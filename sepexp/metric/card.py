"""The card that stands with every table of scores: what the numbers are and what they are not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sepexp.errors import UserError

DEFINITIONS = {
    "SDR": "BSSEval v4 (museval 0.4.1): |s|^2 / |e - s|^2 in each frame, no filter involved",
    "ISR": "BSSEval v4 (museval 0.4.1): image to spatial distortion, 512-tap filters of the track",
    "SIR": "BSSEval v4 (museval 0.4.1): signal to interference, 512-tap filters of the track",
    "SAR": "BSSEval v4 (museval 0.4.1): signal to artefacts, 512-tap filters of the track",
    "uSDR": "10 log10((|s|^2 + 1e-7) / (|s - e|^2 + 1e-7)), whole track (MDX 2021, SDX 2023)",
    "cSDR": "BSSEval v4 SDR, median over the frames of a track",
    "SI-SDR": "|g s|^2 / |e - g s|^2 with the best gain g, whole track (arXiv:1811.02508)",
    "SI-SIR": "scaled target to the residual that gains of the references explain",
    "SI-SAR": "scaled target to the residual that gains of the references do not explain",
    "SNR": "|s|^2 / |s - e|^2, whole track",
    "NSDR": "BSSEval v3 sources SDR minus that of the mixture",
    "GNSDR": "NSDR, mean over tracks weighted by length",
    "SDR v3 sources": "BSSEval v3 (mir_eval): a reference filtered by 512 taps counts as correct",
    "SDR v3 images": "BSSEval v3 (mir_eval): filters fitted in each frame",
    "bleedless": "100 / (1 + mean excess in dB over 512 mel bands), higher is better",
    "fullness": "100 / (1 + mean lack in dB over 512 mel bands), higher is better",
    "l1_freq": "100 / (1 + 10 mean |magnitude difference|), STFT 2048/1024, higher is better",
    "aura_stft": "100 / (1 + 10 (spectral convergence + log magnitude)), higher is better",
    "aura_mrstft": "aura_stft over three A-weighted mel resolutions, higher is better",
    "log_wmse": "-4 ln of the hearing-weighted error over the mixture, higher is better",
    "LSD": "log-spectral distance in dB, lower is better",
    "masked SDR": "SDR over the STFT bins where the source lies 20 dB or more under the mixture",
    "silent residual": "level of the estimate in dB where the reference is silent, lower is better",
}


@dataclass(frozen=True)
class MetricCard:
    """How a table's numbers came about.

    Args:
        metric: name of the score, as in the table.
        definition: the formula or the publication, in one line.
        window, hop: in seconds; None for the whole track.
        silence: what happens to silent frames and silent tracks.
        frames: aggregation over the frames of a track; None without frames.
        tracks: aggregations over tracks, median and mean side by side.
        split: name of the corpus and its part.
        track_count: number of scored tracks.
        track_list: fingerprint of their names, see `track_list_fingerprint`.
    """

    metric: str
    definition: str
    window: float | None
    hop: float | None
    silence: str
    frames: str | None
    tracks: tuple[str, ...]
    split: str
    track_count: int
    track_list: str

    def as_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON or YAML."""
        return asdict(self) | {"tracks": list(self.tracks)}

    def as_markdown(self) -> str:
        """Two columns, one row a field."""
        length = "whole track" if self.window is None else f"{self.window:g} s"
        rows = {
            "Metric": self.metric,
            "Definition": self.definition,
            "Window, hop": length if self.hop is None else f"{length}, {self.hop:g} s",
            "Silence": self.silence,
            "Over frames": self.frames or "none",
            "Over tracks": " and ".join(self.tracks),
            "Split": f"{self.split}, {self.track_count} tracks",
            "Track list": self.track_list,
        }
        cells = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
        return "\n".join(["| | |", "|---|---|", *cells])


SILENT_FRAMES = (
    "a frame with a silent reference or estimate is NaN for all sources; a source silent over the"
    " track is NaN and taken out; NaN and infinite values are skipped"
)


def museval_card(
    metric: str, window: float, hop: float, split: str, names: list[str]
) -> MetricCard:
    """Card of a framewise BSSEval v4 metric: nanmedian over frames, median and mean over tracks.

    Args:
        metric: "SDR", "ISR", "SIR", "SAR" or "cSDR".
        window, hop: in seconds.
        split: name of the corpus and its part.
        names: the scored tracks.

    Raises:
        UserError: a metric that is not framewise BSSEval v4.
    """
    if metric not in ("SDR", "ISR", "SIR", "SAR", "cSDR"):
        raise UserError(f"{metric} is no framewise BSSEval v4 metric: write its card by hand.")
    return MetricCard(
        metric=metric,
        definition=DEFINITIONS[metric],
        window=window,
        hop=hop,
        silence=SILENT_FRAMES,
        frames="median",
        tracks=("median", "mean"),
        split=split,
        track_count=len(names),
        track_list=track_list_fingerprint(names),
    )


def track_list_fingerprint(names: Iterable[str]) -> str:
    """First 12 hexadecimal digits of SHA-256 over the sorted names, one a line.

    Raises:
        UserError: the same name twice.
    """
    ordered = sorted(names)
    twice = sorted(
        {name for name, after in zip(ordered, ordered[1:], strict=False) if name == after}
    )
    if twice:
        raise UserError(f"tracks named twice: {', '.join(twice)}; give each track one name.")
    return hashlib.sha256("\n".join(ordered).encode()).hexdigest()[:12]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
