"""The card that stands with every table of scores: what the numbers are and what they are not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
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
    "NSDR": "BSSEval v3 sources SDR minus that of the mixture, channels averaged",
    "GNSDR": "NSDR, mean over tracks weighted by length",
    "SDR v3 sources": "BSSEval v3 (mir_eval), channels averaged: a reference filtered by 512 taps"
    " counts as correct",
    "SDR v3 images": "BSSEval v3 (mir_eval): source images, one set of 512-tap filters",
    "bleedless": "100 / (1 + mean excess in dB over 512 mel bands), higher is better",
    "fullness": "100 / (1 + mean lack in dB over 512 mel bands), higher is better",
    "l1_freq": "100 / (1 + 10 mean |magnitude difference|), STFT 2048/1024, higher is better",
    "aura_stft": "100 / (1 + 10 (spectral convergence + log magnitude)), higher is better",
    "aura_mrstft": "aura_stft over three A-weighted mel resolutions, higher is better",
    "log_wmse": "-4 ln of the hearing-weighted error over the mixture, higher is better",
    "LSD": "log-spectral distance in dB, lower is better",
    "masked SDR": "SDR over the STFT bins where the source lies 20 dB or more under the mixture",
    "silent residual": "level of the estimate in dB where the reference is silent, lower is better",
    "leak": "energy of a reference's part in the estimate over that reference's, in dB, one complex"
    " gain a frequency; lower is better for other references, 0 is whole for the own one",
    "FAD CLAP": "Frechet distance of CLAP embeddings of truth and estimate in a song, lower is"
    " better",
    "MERT distance": "mean squared difference of MERT embeddings at the same moments, lower is"
    " better",
}
FRAMEWISE = ("SDR", "ISR", "SIR", "SAR", "cSDR")
# what has no unit: 0 to 100, or a distance between numbers without one
UNITLESS = ("bleedless", "fullness", "l1_freq", "aura_stft", "aura_mrstft", "log_wmse", "FAD CLAP",
            "MERT distance")  # fmt: skip


LOWER_IS_BETTER = ("LSD", "silent residual", "FAD CLAP", "MERT distance")


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

    @property
    def defined(self) -> str:
        """What the number is."""
        length = "whole track" if self.window is None else f"window {self.window:g} s"
        length += "" if self.hop is None else f", hop {self.hop:g} s"
        return f"{self.metric}: {self.definition}; {length}"

    @property
    def gathered(self) -> str:
        """How many numbers became one, and of what songs."""
        return (
            f"silence: {self.silence}; over frames: {self.frames or 'none'}; over tracks: "
            f"{' / '.join(self.tracks)}; split: {self.split}, {self.track_count} tracks, list "
            f"{self.track_list}"
        )

    def as_text(self) -> str:
        """One line."""
        return f"{self.defined}; {self.gathered}"


def cards_text(cards: Sequence[MetricCard]) -> list[str]:
    """Several cards in lines: each definition, and what they have in common once."""
    groups: dict[str, list[str]] = {}
    for card in cards:
        groups.setdefault(card.gathered, []).append(card.metric)
    lines = [card.defined for card in cards]
    return [*lines, *(f"{', '.join(names)}: {text}" for text, names in groups.items())]


SILENT_FRAMES = (
    "a frame with a silent reference or estimate is NaN for all sources; a source silent over the"
    " track is NaN and taken out; NaN and infinite values are skipped"
)
SILENT_TRACKS = "a source without a finite value in a track is left out there and named"


def metric_card(
    metric: str, *, window: float, hop: float, split: str, names: list[str], backend: str = ""
) -> MetricCard:
    """Card of a score by its name; frames by NaN-median, tracks by median and mean side by side.

    Args:
        metric: A name of `DEFINITIONS`, or "leak of " and a source.
        window, hop: Of framewise scores, in seconds.
        split: Name of the corpus and its part.
        names: The scored tracks.
        backend: Who computed it, where that can differ.
    """
    known = "leak" if metric.startswith("leak of ") else metric
    definition = DEFINITIONS.get(known, "no definition is known to sepexp")
    framewise = metric in FRAMEWISE
    return MetricCard(
        metric=metric,
        definition=f"{definition} (computed by {backend})" if backend and framewise else definition,
        window=window if framewise else None,
        hop=hop if framewise else None,
        silence=SILENT_FRAMES if framewise else SILENT_TRACKS,
        frames="median" if framewise else None,
        tracks=("median", "mean"),
        split=split,
        track_count=len(names),
        track_list=track_list_fingerprint(names),
    )


def unit(metric: str) -> str:
    """ "dB", or nothing for a number without a unit."""
    return "" if metric in UNITLESS else "dB"


def lower_is_better(metric: str) -> bool:
    """Whether less of it is what one wants."""
    return metric in LOWER_IS_BETTER or metric.startswith("leak of ")


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
