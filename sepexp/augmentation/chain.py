"""The augmentations of a run, as one ordered object that the data module is handed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from sepexp.dsp.stretch import change, frames_needed_for
from sepexp.errors import UserError

Numbers = dict[str, np.ndarray]
KINDS = ("selection", "length", "pointwise")


class Augmentation(Protocol):
    """One idea: what it draws for an example, and what these numbers do to its stems.

    `kind` says where `apply` runs: "selection" before anything is read, on what is to be read;
    "length" where the chunk is read; "pointwise" on the device, on whole batches. `apply` is
    deterministic: everything random is in the numbers. `draws` names the numbers, which have one
    value for each source.
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

    Raises:
        UserError: An augmentation is of no known kind, or two draw a number of the same name.
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
        return frames_needed_for(frames, tempo=tempo, semitones=semitones)

    def change(
        self, audio: np.ndarray, *, tempo: float, semitones: float, frames: int
    ) -> np.ndarray:
        """Tempo and pitch in one pass, as both are a stretch: (channels, samples) -> `frames`."""
        return change(audio, tempo=tempo, semitones=semitones, frames=frames)

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
