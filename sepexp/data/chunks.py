"""Training examples as a pure function of (seed, epoch, index); numpy only, workers stay light."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from sepexp.data.convert import FULL_SCALE, Scratch, adapt, to_int16_range
from sepexp.data.sampling import UNIFORMS, Dice, Pick, Sampling, Songs
from sepexp.data.track import Track
from sepexp.dsp import resample
from sepexp.errors import UserError

LEFT = ("tempo", "semitones")  # numbers of what is left to the device


class Example(NamedTuple):
    """One example, or the places where one is to be written.

    Shape:
        stems: (sources, channels, samples + 2 context), int16 or float32; where devices change
            tempo and pitch, as long as the longest they may need, with zeros behind what they do.
        present: (sources,) bool.
        index: () int64.
        songs: (sources,) int64.
        numbers: each (sources,) float32; `scale` is what makes the stems floats in [-1, 1]. A
            `tempo` and `semitones` that are still to be applied are the bits of float64 in int64,
            which a run in half precision doesn't round.
    """

    stems: np.ndarray
    present: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # hides a method of tuples
    songs: np.ndarray
    numbers: dict[str, np.ndarray]


class Picks(NamedTuple):
    """What selections decide: sources from one place or each from its own, and second stems."""

    together: bool
    second: np.ndarray  # (sources,) level of a second stem of the kind, 0 for none


class Read(NamedTuple):
    """One stretch of one song at the stream's rate; `frames` is what tempo and pitch need."""

    song: int
    start: int
    frames: int


@dataclass(eq=False, slots=True)
class Plan:
    """Everything that is random about an example, before anything has been read."""

    index: int
    epoch: int
    reads: tuple[Read, ...]  # one a source
    seconds: tuple[Read | None, ...]
    levels: np.ndarray  # (sources,) of the second stems
    tempo: np.ndarray
    semitones: np.ndarray
    numbers: dict[str, np.ndarray]  # all that the augmentations drew


class Chunks:
    """A map-style data set of training chunks, for our loader or for torch's own.

    Args:
        tracks: The training songs.
        sources: Names of the stems, in the order of the examples' first axis.
        sample_rate: In Hz; songs at another rate are resampled where they are read.
        channels: Mono songs are repeated, others averaged where the counts differ.
        samples: Length of a chunk.
        context: Samples read besides, on each side.
        seed: Of all draws.
        augmentation: An ordered container of augmentations (draw, select, align, change).
        sampling: How songs and places are drawn.
        examples: Length of an epoch; 0 takes the total length of the songs.
        finished: Give floats with the pointwise augmentations done, the same bits that a device
            makes of the raw ones: for training on a processor, whose memory is the bottleneck.
            Tempo and pitch, too, are then changed here, whatever `augmentation` says.

    `epoch` may be set between epochs; each draws anew.

    Raises:
        UserError: No songs, or a source that none of them has.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        *,
        sources: Sequence[str],
        sample_rate: int,
        channels: int,
        samples: int,
        context: int,
        seed: int,
        augmentation: Any,
        sampling: Sampling,
        examples: int = 0,
        finished: bool = False,
    ) -> None:
        if samples < 1 or context < 0:
            raise UserError(
                f"a chunk of {samples} samples with a context of {context} was asked for: "
                "expected at least 1 and 0, raise data.segment"
            )
        self.tracks, self.sources = list(tracks), tuple(sources)
        self.sample_rate, self.channels = sample_rate, channels
        self.context, self.length = context, samples + 2 * context
        self.augmentation = augmentation
        self.songs = Songs(tracks, sources=sources, sample_rate=sample_rate, sampling=sampling)
        self.examples = examples or max(1, sum(self.songs.frames) // samples)
        self.epoch = 0
        self.finished = finished
        self.leaves = augmentation.on_device and not finished
        # what is read for an example, at most
        self.width = augmentation.most_frames(self.length) if self.leaves else self.length
        is_short = all(track.dtype == np.int16 for track in tracks)
        self._raw = np.dtype(np.int16 if is_short else np.float32)
        self.dtype = np.dtype(np.float32) if finished else self._raw
        self.numbers = augmentation.shipped if finished else (*augmentation.shipped, "scale")
        self.numbers += LEFT if self.leaves else ()
        self._dice = Dice(seed)
        self._scratch = Scratch(), Scratch()
        self._warn_of_short_songs()

    def __len__(self) -> int:
        return self.examples

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.examples:
            raise IndexError(f"example {index} of {self.examples}")
        return self.read(self.draw(index, self.epoch))

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        return [self[index] for index in indices]

    def draw(self, index: int, epoch: int) -> Plan:
        """Decide everything about an example without reading anything."""
        at = self._dice.at(epoch, index)
        numbers = self.augmentation.draw(at, self.sources)
        nothing = np.zeros(len(self.sources))
        picks = self.augmentation.select(Picks(together=True, second=nothing), numbers)
        if picks.together:
            numbers = self.augmentation.align(numbers, self.sources)
        tempo = numbers.get("tempo", nothing + 1)
        semitones = numbers.get("semitones", nothing)
        needed = [
            self.augmentation.frames_needed(self.length, tempo=t, semitones=s)
            for t, s in zip(tempo.tolist(), semitones.tolist(), strict=True)
        ]
        reads = self._common(at, needed) if picks.together else self._own(at, "place", needed)
        seconds: list[Read | None] = [None] * len(needed)
        if picks.second.any():
            drawn = self._own(at, "second", needed)
            pairs = zip(drawn, picks.second, strict=True)
            seconds = [read if level else None for read, level in pairs]
        return Plan(
            index=index,
            epoch=epoch,
            reads=tuple(reads),
            seconds=tuple(seconds),
            levels=picks.second,
            tempo=tempo,
            semitones=semitones,
            numbers=numbers,
        )

    def room(self, batch: int, make: Callable[..., np.ndarray] = np.empty) -> Example:
        """Room for a batch, every field with the batch as its first axis.

        Args:
            make: Where the memory comes from: called with a shape and a type.
        """
        sources = len(self.sources)
        left = LEFT if self.leaves else ()
        return Example(
            stems=make((batch, sources, self.channels, self.width), self.dtype),
            present=make((batch, sources), np.bool_),
            index=make((batch,), np.int64),
            songs=make((batch, sources), np.int64),
            numbers={
                name: make((batch, sources), np.int64 if name in left else np.float32)
                for name in self.numbers
            },
        )

    def read(self, plan: Plan) -> Example:
        """The example that a plan describes, in fresh memory."""
        room = self.room(1)
        self.fill(plan, room, 0)
        return Example(
            room.stems[0],
            room.present[0],
            room.index[0],
            room.songs[0],
            {name: values[0] for name, values in room.numbers.items()},
        )

    def fill(self, plan: Plan, room: Example, row: int) -> None:
        """Write an example into one row of a batch.

        Raises:
            UserError: A file could not be read; names song, source and place.
        """
        songs = [read.song for read in plan.reads]
        present = [self.songs.present[song][source] for source, song in enumerate(songs)]
        room.index[row] = plan.index
        room.songs[row] = songs
        room.present[row] = present
        for name in self.augmentation.shipped:
            room.numbers[name][row] = plan.numbers[name]
        factor = np.ones(len(self.sources), np.float32)
        swapped = np.zeros(len(self.sources), np.bool_)
        if self.finished:
            factor, swapped = self.augmentation.fold(factor, swapped, plan.numbers)
        for source, out in enumerate(room.stems[row]):
            if not present[source]:
                out[:] = 0
                continue
            stem, scale = self._stem(plan, source)
            factor[source] *= scale
            if not self.finished:
                out[:, : stem.shape[1]] = stem
                out[:, stem.shape[1] :] = 0
                continue
            # one channel at a time, so that the second pass finds it in the cache
            for samples, channel in zip(stem[::-1] if swapped[source] else stem, out, strict=True):
                np.copyto(channel, samples)
                np.multiply(channel, factor[source], out=channel)
        if not self.finished:
            room.numbers["scale"][row] = factor
        if self.leaves:
            # nothing is left to be done to a stem that isn't there
            tempo = np.where(present, plan.tempo, 1.0)
            room.numbers["tempo"][row] = tempo.view(np.int64)
            semitones = np.where(present, plan.semitones, 0.0)
            room.numbers["semitones"][row] = semitones.view(np.int64)

    def _own(self, at: Any, purpose: str, needed: Sequence[int]) -> list[Read]:
        uniforms = at(purpose).random((len(needed), UNIFORMS)).tolist()
        picks = [self.songs.own(row, source) for source, row in enumerate(uniforms)]
        return [self._read(pick, frames) for pick, frames in zip(picks, needed, strict=True)]

    def _common(self, at: Any, needed: Sequence[int]) -> list[Read]:
        which, *uniforms = at("place together").random(1 + UNIFORMS).tolist()
        pick = self.songs.common(uniforms, int(which * len(needed)))
        longest = self._read(pick, max(needed))  # one start for all, or they'd no longer be aligned
        return [longest._replace(frames=frames) for frames in needed]

    def _read(self, pick: Pick, frames: int) -> Read:
        return Read(pick.song, self.songs.start(pick, frames, self.context), frames)

    def _stem(self, plan: Plan, source: int) -> tuple[np.ndarray, np.float32]:
        """One stem and its scale; valid until the next one is asked for.

        A view of the song where nothing is to be done, else floats: whole numbers in the range of
        int16 where the stream is int16.
        """
        read, second = plan.reads[source], plan.seconds[source]
        tempo, semitones = float(plan.tempo[source]), float(plan.semitones[source])
        track = self.tracks[read.song]
        changed = (tempo != 1 or semitones != 0) and not self.leaves
        adapted = track.rate != self.sample_rate or track.channels not in (1, self.channels)
        if not changed and not adapted and second is None and track.dtype == self._raw:
            stem = self._window(track, source, read.start, read.frames)
            if len(stem) != self.channels:
                stem = np.broadcast_to(stem, (self.channels, read.frames))
            return stem, FULL_SCALE if self._raw == np.int16 else np.float32(1)
        stem = self._floats(read, source, 0)
        if second is not None:
            other = self._floats(second, source, 1)
            other *= plan.levels[source]
            stem += other
        if changed:
            if self._raw == np.int16 and (adapted or second is not None):
                # rounded as it would be for a device, so that both find the same splices
                stem *= to_int16_range(stem)
            stem = self.augmentation.change(
                stem, tempo=tempo, semitones=semitones, frames=self.length
            )
        return (stem, to_int16_range(stem)) if self._raw == np.int16 else (stem, np.float32(1))

    def _floats(self, read: Read, source: int, scratch: int) -> np.ndarray:
        """A read at the stream's rate and channel count: (channels, frames) float32, writable."""
        track = self.tracks[read.song]
        ratio = Fraction(track.rate, self.sample_rate)
        start = int(read.start * ratio) - resample.margin(ratio)
        raw = self._window(track, source, start, resample.frames_needed(read.frames, ratio))
        stem = self._scratch[scratch].floats(raw)
        if ratio != 1:
            stem = resample.resample(stem, ratio, read.frames)
        return adapt(stem, self.channels)

    def _window(self, track: Track, source: int, start: int, frames: int) -> np.ndarray:
        """A window of a stem, with zeros where it reaches over the song's ends."""
        first, last = min(max(start, 0), track.frames), min(start + frames, track.frames)
        last = max(first, last)
        name = self.sources[source]
        try:
            stem = track.read(name, first, last - first)
        except (UserError, OSError, ValueError) as error:
            raise UserError(
                f"can't read {name} of {track.name} from sample {first} to {last}: {error}"
            ) from error
        if last - first == frames:
            return stem
        return np.pad(stem, ((0, 0), (first - start, start + frames - last)))

    def _warn_of_short_songs(self) -> None:
        short = sum(frames < self.length for frames in self.songs.frames)
        if short:
            warnings.warn(
                f"{short} of {len(self.tracks)} training songs are shorter than a chunk of "
                f"{self.length / self.sample_rate:.2f} s: silence is added to them "
                "(data.segment sets the length)",
                stacklevel=3,
            )
