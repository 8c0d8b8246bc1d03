"""Which song and which place: counter-based draws over tables of songs (numpy only)."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from sepexp.data.track import Track
from sepexp.errors import UserError

BLOCK_SECONDS = 0.5  # of the tracks' level tables
UNIFORMS = 4  # song, place, whether it must sound, which sounding block


class Sampling:
    """How songs and places are drawn.

    Args:
        balanced: Every song equally often; False: every second of music equally often.
        active: How often a source's chunk must contain a block in which that source sounds,
            looked up in the level tables of the store (0: never asked, 1: always).
        floor: Level in dB below full scale from which on a block sounds.
    """

    def __init__(self, *, balanced: bool, active: float, floor: float) -> None:
        if not 0 <= active <= 1:
            raise UserError(f"data.sampling.active is {active}: expected a probability from 0 to 1")
        self.balanced, self.active, self.floor = balanced, float(active), float(floor)


class Dice:
    """Generators that depend on (seed, purpose, epoch, index) and on nothing else.

    Philox, a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as
    1, 2, 3"). Epoch and index stand in the counter's upper words: the lower ones count on while
    numbers are drawn, so no example runs into its neighbour's numbers.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._cached: dict[str, tuple[np.random.Generator, dict]] = {}

    def __getstate__(self) -> dict:
        return {"seed": self.seed, "_cached": {}}

    def at(self, epoch: int, index: int) -> Callable[[str], np.random.Generator]:
        """The generators of one example by purpose, each valid until the next call for it."""
        return lambda purpose: self._generator(purpose, epoch, index)

    def _generator(self, purpose: str, epoch: int, index: int) -> np.random.Generator:
        # Setting the state of a kept generator takes 4 us, a new one takes 20.
        if purpose not in self._cached:
            word = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
            key = np.array([self.seed % 2**64, word], dtype=np.uint64)
            generator = np.random.Generator(np.random.Philox(key=key))
            self._cached[purpose] = (generator, dict(generator.bit_generator.state))
        generator, state = self._cached[purpose]
        state["state"]["counter"][:] = (0, 0, index, epoch)
        generator.bit_generator.state = state
        return generator


class Pick(NamedTuple):
    """A place in a song, not yet a start: that depends on how many samples will be read."""

    song: int
    place: float  # share of the way through the song, or of the chunk at which `block` lies
    block: int  # index of the block of the level table that must be inside; -1: none


class Songs:
    """The songs that a source can be drawn from, as tables of cumulative weights.

    Raises:
        UserError: No songs, a source that no song has, or levels are needed and not there.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        *,
        sources: Sequence[str],
        sample_rate: int,
        sampling: Sampling,
    ) -> None:
        if not tracks:
            raise UserError(
                "the training split has no songs: expected at least one, look at data.corpus"
            )
        self.sampling = sampling
        self.present = [[source in track.sources for source in sources] for track in tracks]
        self._check_sources(tracks, sources)
        rates = [Fraction(track.rate, sample_rate) for track in tracks]
        self.frames = [int(t.frames / rate) for t, rate in zip(tracks, rates, strict=True)]
        self.block = BLOCK_SECONDS * sample_rate
        length = np.array([1.0] * len(tracks) if sampling.balanced else self.frames, dtype=float)
        present = np.array(self.present)
        self._any = _cumulative(length * present.any(axis=1))
        self._own = [_cumulative(length * has) for has in present.T]
        self._sounding: list[list[np.ndarray]] = []
        self._active: list[list[float] | None] = []
        if sampling.active:
            self._tabulate(tracks, sources)

    def own(self, uniforms: Sequence[float], source: int) -> Pick:
        """A pick for one source, among the songs that have it."""
        return self._pick(uniforms, self._own[source], source)

    def common(self, uniforms: Sequence[float], source: int) -> Pick:
        """A pick for all sources together, among all songs; `source` is the one that must sound."""
        return self._pick(uniforms, self._any, source)

    def start(self, pick: Pick, frames: int, context: int) -> int:
        """Where to begin reading `frames` samples, at the stream's rate; negative: padded before.

        A song shorter than that begins where the context ends at the latest, so that what is
        missing is silence behind it.
        """
        spare = self.frames[pick.song] - frames
        if spare < 0:
            return -min(context, -spare // 2)
        if pick.block >= 0:
            centre = (pick.block + 0.5) * self.block
            return int(min(max(centre - pick.place * frames, 0), spare))
        return int(pick.place * (spare + 1))

    def _pick(self, uniforms: Sequence[float], table: list[float], source: int) -> Pick:
        song, place, must_sound, which = uniforms
        active = self._active[source] if must_sound < self.sampling.active else None
        if active is None:
            return Pick(_find(table, song), place, -1)
        chosen = _find(active, song)
        blocks = self._sounding[source][chosen]
        return Pick(chosen, place, int(blocks[int(which * len(blocks))]))

    def _check_sources(self, tracks: Sequence[Track], sources: Sequence[str]) -> None:
        missing = [source for source in sources if not any(source in t.sources for t in tracks)]
        if missing:
            there = sorted({source for track in tracks for source in track.sources})
            raise UserError(
                f"no training song has the source {missing[0]}: the songs have "
                f"{', '.join(there)}; name those in sources=[...]"
            )

    def _tabulate(self, tracks: Sequence[Track], sources: Sequence[str]) -> None:
        floor = 10 ** (self.sampling.floor / 20)
        tables = [track.levels() for track in tracks]
        if any(table is None for table in tables):
            name = next(t.name for t, levels in zip(tracks, tables, strict=True) if levels is None)
            raise UserError(
                f"data.sampling.active is {self.sampling.active}, but {name} has no level table: "
                "use the store (data.store) or set data.sampling.active=0"
            )
        nothing = np.zeros(0)
        for source in sources:
            blocks = [
                np.flatnonzero(np.asarray((table or {}).get(source, nothing)) > floor)
                for table in tables
            ]
            counts = np.array([len(b) for b in blocks], dtype=float)
            weights = (counts > 0).astype(float) if self.sampling.balanced else counts
            self._sounding.append(blocks)
            # a source that never sounds anywhere is drawn as if nothing had been asked
            self._active.append(_cumulative(weights) if counts.any() else None)


def _cumulative(weights: np.ndarray) -> list[float]:
    """Where each song's share of [0, 1) ends; what lies behind the last song is cut off."""
    ends = np.cumsum(weights) / weights.sum()
    last = int(np.flatnonzero(weights)[-1])
    return [*ends[:last].tolist(), 1.0]


def _find(table: list[float], uniform: float) -> int:
    # on the right of equal ends, which steps over songs of weight 0
    return bisect_right(table, uniform)
