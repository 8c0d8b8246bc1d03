"""The augmentations of a run, as one ordered object that the data module is handed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from sepexp.dsp.stretch import change, frames_needed_for, most_needed
from sepexp.errors import UserError

Numbers = dict[str, np.ndarray]
KINDS = ("selection", "length", "pointwise")
PLACES = ("worker", "device")


class Augmentation(Protocol):
    """One idea: what it draws for an example, and what these numbers do to its stems.

    `kind` says where `apply` runs: "selection" before anything is read, on what is to be read;
    "length" where the chunk is read; "pointwise" on the device, on whole batches. `apply` is
    deterministic: everything random is in the numbers. `draws` names the numbers, which have one
    value for each source. One of kind "length" also says what its numbers may be, in `bounds`, if
    devices are to apply it.
    """

    kind: str
    draws: tuple[str, ...]

    def draw(self, generator: np.random.Generator, names: Sequence[str]) -> Numbers: ...


class Augmentations:
    """An ordered set of augmentations; each may be None, which leaves the others' draws alone.

    Args:
        remix: Whether the sources of an example come from different songs.
        mixup: Whether a source is the sum of two stems of its kind.
        tempo: Speed at an unchanged pitch.
        pitch: Pitch at an unchanged speed.
        gain: A factor for each source.
        swap: The channels of a source exchanged.
        polarity: The sign of a source.
        further: Augmentations from another package, by a name of your own.
        stretch: What changes tempo and pitch (`frames_needed`, `change`), None for our own.
        stretch_on: Where our own does: "worker" where chunks are read, "device" in whole batches.

    Raises:
        UserError: An augmentation is of no known kind, two draw a number of the same name, or what
            stretches can't do so in that place.
    """

    def __init__(
        self,
        *,
        remix: Any = None,
        mixup: Any = None,
        tempo: Any = None,
        pitch: Any = None,
        gain: Any = None,
        swap: Any = None,
        polarity: Any = None,
        further: dict[str, Any] | None = None,
        stretch: Any = None,
        stretch_on: str = "worker",
    ) -> None:
        members = {
            "remix": remix,
            "mixup": mixup,
            "tempo": tempo,
            "pitch": pitch,
            "gain": gain,
            "swap": swap,
            "polarity": polarity,
        } | (further or {})
        self.members = {name: member for name, member in members.items() if member is not None}
        self._check()
        self._of_kind = {
            kind: [member for member in self.members.values() if member.kind == kind]
            for kind in KINDS
        }
        self.stretch, self.stretch_on = stretch, stretch_on
        self._check_stretch()
        # the names of the numbers that travel with a batch
        self.shipped = tuple(name for one in self._of_kind["pointwise"] for name in one.draws)

    def draw(
        self, generator: Callable[[str], np.random.Generator], names: Sequence[str]
    ) -> Numbers:
        """Everything random about one example, each augmentation from a generator of its own."""
        numbers: Numbers = {}
        for purpose, member in self.members.items():
            numbers |= member.draw(generator(purpose), names)
        return numbers

    def select(self, picks: Any, numbers: Numbers) -> Any:
        """What is to be read, after the selections had their say."""
        for member in self._of_kind["selection"]:
            picks = member.apply(picks, numbers)
        return picks

    def align(self, numbers: Numbers, names: Sequence[str]) -> Numbers:
        """The numbers of an example whose sources sound together in one song: one tempo for all."""
        for member in self._of_kind["length"]:
            numbers = numbers | member.align(numbers, names)
        return numbers

    def frames_needed(self, frames: int, *, tempo: float, semitones: float) -> int:
        """How many samples must be read so that `frames` remain."""
        if tempo == 1 and semitones == 0:
            return frames
        if self.stretch is not None:
            return self.stretch.frames_needed(frames, tempo, semitones)
        return frames_needed_for(frames, tempo=tempo, semitones=semitones)

    def change(
        self, audio: np.ndarray, *, tempo: float, semitones: float, frames: int
    ) -> np.ndarray:
        """Tempo and pitch in one pass, as both are a stretch: (channels, samples) -> `frames`."""
        if self.stretch is not None:
            return self.stretch.change(audio, tempo=tempo, semitones=semitones, frames=frames)
        return change(audio, tempo=tempo, semitones=semitones, frames=frames)

    @property
    def on_device(self) -> bool:
        """Whether tempo and pitch are left to the device, which gets the longer chunks."""
        return self.stretch_on == "device" and bool(self._of_kind["length"])

    def most_frames(self, frames: int) -> int:
        """What `frames_needed` never exceeds, by what the augmentations may draw."""
        bounds = {"tempo": (1.0, 1.0), "semitones": (0.0, 0.0)}
        for member in self._of_kind["length"]:
            bounds |= member.bounds
        semitones = max(map(abs, bounds["semitones"]))
        return most_needed(frames, tempo=max(1.0, bounds["tempo"][1]), semitones=semitones)

    def apply(self, stems: Any, numbers: Any) -> Any:
        """The pointwise ones on a batch of float stems, on whatever device they lie.

        Shape:
            stems: (batch, sources, channels, samples), changed in place where that is possible.
            numbers: each (batch, sources).
        """
        for member in self._of_kind["pointwise"]:
            stems = member.apply(stems, numbers)
        return stems

    @property
    def foldable(self) -> bool:
        """Whether the pointwise ones together are a factor and an exchange of channels."""
        return all(hasattr(member, "fold") for member in self._of_kind["pointwise"])

    def fold(self, factor: Any, swapped: Any, numbers: Any) -> tuple[Any, Any]:
        """`apply` as one factor and one exchange of channels for each source.

        So the stems are read once, not once for each augmentation.

        Shape: all (..., sources).
        """
        for member in self._of_kind["pointwise"]:
            factor, swapped = member.fold(factor, swapped, numbers)
        return factor, swapped

    def _check(self) -> None:
        owners: dict[str, str] = {}
        for name, member in self.members.items():
            kind = getattr(member, "kind", None)
            if kind not in KINDS:
                raise UserError(
                    f"augmentation.{name} is a {type(member).__name__} of kind {kind!r}: "
                    "expected an object whose kind is selection, length or pointwise"
                )
            for number in member.draws:
                if number in owners:
                    raise UserError(
                        f"augmentation.{owners[number]} and augmentation.{name} both draw "
                        f"'{number}': give one of them another name"
                    )
                owners[number] = name

    def _check_stretch(self) -> None:
        if self.stretch_on not in PLACES:
            raise UserError(
                f"augmentation.stretch_on is {self.stretch_on!r}: expected worker or device"
            )
        for name in ("frames_needed", "change"):
            if self.stretch is not None and not hasattr(self.stretch, name):
                raise UserError(
                    f"augmentation.stretch is a {type(self.stretch).__name__} without `{name}`: "
                    "expected an object that changes tempo and pitch, or null"
                )
        if self.stretch_on == "worker":
            return
        if self.stretch is not None:
            raise UserError(
                "augmentation.stretch_on=device runs our own stretch, but augmentation.stretch is "
                f"a {type(self.stretch).__name__}: set stretch_on=worker or stretch=null"
            )
        for name, member in self.members.items():
            if member.kind == "length" and not hasattr(member, "bounds"):
                raise UserError(
                    f"augmentation.{name} has no `bounds`, which say how long the chunks for "
                    "augmentation.stretch_on=device may get: give it some, or set stretch_on=worker"
                )
