"""`.stem.mp4` files: five AAC streams in one container, decoded in one pass by PyAV.

PyAV's wheel brings its own decoder, so no ffmpeg program is needed; it is the extra `stems`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from sepexp import audio
from sepexp.data.track import Input, check_range, common_length, fingerprint, look_at
from sepexp.errors import UserError

MIXTURE = "mixture"
SHORT = 0.1  # seconds by which a decoded stream may fall short of its header's duration
_AGAIN = "the file is damaged or was cut off; fetch it again"


class Stream(NamedTuple):
    """One audio stream as the container describes it; `frames` leaves the encoder's delay out."""

    frames: int
    rate: int
    channels: int


def describe(path: str | Path) -> list[Stream]:
    """Read the container's header, without decoding.

    Raises:
        UserError: PyAV is missing, or the file is missing, damaged or without audio.
    """
    av = _av(path)
    try:
        with av.open(str(path)) as container:
            found = [
                Stream(
                    round((stream.duration or 0) * stream.time_base * stream.rate),
                    stream.rate,
                    stream.channels,
                )
                for stream in container.streams.audio
            ]
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{path} can't be opened ({error}): {_AGAIN}") from None
    if not found:
        raise UserError(f"{path} has no audio stream: expected a mixture and its stems")
    return found


def decode(path: str | Path) -> np.ndarray:
    """Decode all streams in one pass to 16 bits, cut to the shortest.

    The encoder's delay is taken off as the container asks; the padding of the last packet stays, as
    in stempeg and musdb with the ffmpeg program of Debian 12 (5.1); that of version 9 cuts it off.

    Shape:
        returns: (streams, channels, samples) int16.

    Raises:
        UserError: The file is damaged or truncated, or its streams don't fit each other.
    """
    expected = describe(path)
    channels = {stream.channels for stream in expected}
    if len(channels) != 1:
        raise UserError(f"{path} has streams of {channels} channels: expected one number in all")
    pieces = _decoded(path, len(expected))
    lengths = {}
    for number, (stream, parts) in enumerate(zip(expected, pieces, strict=True)):
        length = sum(part.shape[1] for part in parts)
        if length < stream.frames - SHORT * stream.rate:
            raise UserError(
                f"{path} is truncated: stream {number} ends at sample {length} of {stream.frames}; "
                f"{_AGAIN}"
            )
        lengths[f"{path} stream {number}"] = (length, stream.rate)
    frames = common_length(Path(path).name, lengths)
    array = np.empty((len(pieces), channels.pop(), frames), dtype=np.int16)
    for row, parts in zip(array, pieces, strict=True):
        row[:] = np.concatenate(parts, axis=1)[:, :frames]
        parts.clear()
    return array


def _decoded(path: str | Path, streams: int) -> list[list[np.ndarray]]:
    """The decoded pieces of each stream, (channels, samples) int16 each."""
    av = _av(path)
    pieces: list[list[np.ndarray]] = [[] for _ in range(streams)]
    try:
        with av.open(str(path)) as container:
            place = {stream.index: at for at, stream in enumerate(container.streams.audio)}
            converters = [
                av.AudioResampler(format="s16p", layout=stream.layout, rate=stream.rate)
                for stream in container.streams.audio
            ]
            for packet in container.demux(container.streams.audio):
                at = place[packet.stream.index]
                for frame in packet.decode():
                    pieces[at] += [part.to_ndarray() for part in converters[at].resample(frame)]
            for at, converter in enumerate(converters):
                pieces[at] += [part.to_ndarray() for part in converter.resample(None)]
    except (av.FFmpegError, OSError) as error:
        done = sum(part.shape[1] for part in pieces[0])
        raise UserError(f"{path} can't be decoded near sample {done} ({error}): {_AGAIN}") from None
    return pieces


@dataclass(frozen=True, kw_only=True)
class StemsTrack:
    """A song in a `.stem.mp4`; each first read decodes the whole file, which a store spares.

    `frames` is the container's figure; a decoded song may have up to a packet more.
    """

    name: str
    rate: int
    frames: int
    channels: int
    file: Input
    streams: Mapping[str, int]
    mixture: int

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.streams)

    @property
    def dtype(self) -> type[np.int16]:
        return np.int16

    @property
    def fingerprint(self) -> str:
        return fingerprint(self)

    @property
    def inputs(self) -> tuple[Input, ...]:
        return (self.file,)

    def decoded(self) -> StemsTrack:
        """The same song with the length that decoding it gives."""
        return replace(self, frames=_whole(self.file).shape[2])

    def read(self, source: str, start: int, frames: int) -> np.ndarray:
        check_range(self, start, frames)
        stream = self.mixture if source == MIXTURE else self.streams[source]
        return _whole(self.file)[stream, :, start : start + frames]

    def read_mixture(self, start: int, frames: int) -> np.ndarray:
        return audio.as_float(self.read(MIXTURE, start, frames))

    def levels(self) -> None:
        return None


def from_stems(name: str, path: str | Path, streams: Mapping[str, int], mixture: int) -> StemsTrack:
    """Describe a `.stem.mp4` by its header.

    Args:
        streams: The number of each source's stream.
        mixture: The number of the mixture's stream.

    Raises:
        UserError: The number of streams is another one, or their rates or lengths don't fit.
    """
    found = describe(path)
    expected = len(streams) + 1
    if len(found) != expected:
        raise UserError(
            f"{path} has {len(found)} audio streams: expected {expected}, "
            "the mixture and one a source; is it a stem file?"
        )
    lengths = {f"{path} stream {at}": (part.frames, part.rate) for at, part in enumerate(found)}
    return StemsTrack(
        name=name,
        rate=found[0].rate,
        frames=common_length(name, lengths),
        channels=found[0].channels,
        file=look_at(path),
        streams=dict(streams),
        mixture=mixture,
    )


@lru_cache(maxsize=1)  # a song is 50 MB a minute
def _whole(file: Input) -> np.ndarray:
    return decode(file.path)


def forget() -> None:
    """Let go of the song that was decoded last."""
    _whole.cache_clear()


def _av(path: str | Path) -> ModuleType:
    try:
        import av
    except ModuleNotFoundError:
        raise UserError(
            f"{path} is an mp4 and needs PyAV: run `pip install 'sepexp[stems]'`, "
            "or use the HQ wav files"
        ) from None
    return av
