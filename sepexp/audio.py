"""Files to arrays and tensors (channels, samples) and back; length without decoding.

Plain wav is understood here, by its own header, so that it can be memory-mapped; every other format
goes through libsndfile. Torch and soundfile are imported where they are used: loader workers read
through this file and hold numpy only.
"""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from sepexp.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
UNKNOWN_SIZE = (0, 0xFFFFFFFF)  # what a program writes that can't seek back into its pipe


class Info(NamedTuple):
    """What a header says; `offset` is the byte where mappable samples begin, None elsewhere."""

    frames: int
    rate: int
    channels: int
    bits: int
    floating: bool
    offset: int | None

    @property
    def dtype(self) -> type[np.int16] | type[np.float32]:
        """The type that holds the samples without loss: int16 up to 16 bits, else float32."""
        return np.int16 if self.bits <= 16 and not self.floating else np.float32


def info(path: str | Path) -> Info:
    """Read a file's header.

    Raises:
        UserError: The file is missing, not audio, or holds less than its header promises.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            found = _wav_header(file, path)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}; check path and rights") from None
    return found or _sndfile_info(path)


def load(path: str | Path, start: int = 0, frames: int | None = None) -> np.ndarray:
    """Read samples in the file's own type, int16 or float32 (see `Info.dtype`).

    Args:
        start: First sample.
        frames: Number of samples; None reads to the end.

    Shape:
        returns: (channels, samples).

    Raises:
        UserError: The file is missing, truncated or damaged; names the file and the sample.
    """
    found = info(path)
    frames = found.frames - start if frames is None else frames
    if start < 0 or frames < 0 or start + frames > found.frames:
        raise UserError(
            f"{path} has {found.frames} samples, but {start} to {start + frames} were asked for"
        )
    raw = mapped(path, found)
    if raw is not None:
        return np.ascontiguousarray(samples(raw[start : start + frames], found))
    return decode(path, found, start, frames)


def read(path: str | Path, start: int = 0, frames: int | None = None) -> tuple[Tensor, int]:
    """Read samples as a float32 tensor in [-1, 1], and the sample rate in Hz; arguments of `load`.

    Shape:
        returns: (channels, samples).
    """
    import torch

    return torch.from_numpy(as_float(load(path, start, frames))), info(path).rate


def as_float(array: np.ndarray) -> np.ndarray:
    """Int16 samples scaled to [-1, 1) as float32; float32 stays as it is."""
    return array.astype(np.float32) / 32768 if array.dtype == np.int16 else array


def mapped(path: str | Path, found: Info) -> np.ndarray | None:
    """The samples of a plain wav as they lie in the file, memory-mapped; None for other files.

    Shape:
        returns: (samples, channels), or (samples, channels, 3) bytes for 24 bits.
    """
    if found.offset is None:
        return None
    shape: tuple[int, ...] = (found.frames, found.channels)
    if found.frames == 0:
        return np.zeros(shape, dtype=found.dtype)
    kind = {16: "<i2", 24: "u1", 32: "<f4" if found.floating else "<i4"}[found.bits]
    shape = (*shape, 3) if found.bits == 24 else shape
    return np.asarray(np.memmap(path, dtype=kind, mode="r", offset=found.offset, shape=shape))


def samples(raw: np.ndarray, found: Info) -> np.ndarray:
    """Mapped samples to int16 or float32, (channels, samples); 16 bits and floats aren't copied."""
    if found.bits == 24:
        wide = np.zeros((*raw.shape[:2], 4), dtype=np.uint8)
        wide[..., 1:] = raw
        raw = wide.view("<i4")[..., 0]
    if raw.dtype == np.dtype("<i4"):
        raw = (raw / np.float64(2**31)).astype(np.float32)
    return raw.T


def decode(path: str | Path, found: Info, start: int, frames: int) -> np.ndarray:
    """Read a range through libsndfile, in the file's own type; exactly `frames` samples.

    Shape:
        returns: (channels, samples).
    """
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            file.seek(start)
            array = file.read(frames, dtype=np.dtype(found.dtype).name, always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(
            f"{path} can't be decoded at sample {start} ({_reason(error)}): "
            "the file is damaged or was cut off; fetch or export it again"
        ) from None
    if len(array) != frames:
        raise UserError(
            f"{path} ends at sample {start + len(array)} but promises {found.frames}: "
            "the file is damaged or was cut off; fetch or export it again"
        )
    return np.ascontiguousarray(array.T)


def write_wav(path: str | Path, waveform: Tensor | np.ndarray, rate: int, bits: int = 32) -> None:
    """Write a wav file aside and move it into place, so that no half file is ever seen.

    Args:
        waveform: Floats in [-1, 1], or int16; (channels, samples) or (samples,).
        rate: Sample rate in Hz.
        bits: 32 writes floats, which never clip; 24 and 16 write integers, rounded and clipped.
    """
    import soundfile

    path = Path(path)
    array = np.atleast_2d(_numpy(waveform))
    if array.dtype != np.int16:
        array = array.astype(np.float32)
    elif bits == 32:
        array = as_float(array)
    if bits == 16 and array.dtype != np.int16:
        # libsndfile scales by 32767 and reads by 32768: rounding here keeps the round trip exact
        array = np.clip(np.rint(array * 32768.0), -32768, 32767).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            subtype = {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}[bits]
            soundfile.write(file, array.T, rate, subtype=subtype, format="WAV")
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, path)
    except BaseException as error:
        Path(aside).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"can't write {path}: {error.strerror or error}") from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _numpy(waveform: Any) -> np.ndarray:
    return waveform if isinstance(waveform, np.ndarray) else waveform.detach().cpu().numpy()


def _wav_header(file: BinaryIO, path: Path) -> Info | None:
    """The header of a little-endian RIFF wav with 16, 24 or 32 bits, None for anything else."""
    riff = file.read(12)
    if len(riff) < 12 or riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        return None
    end = os.fstat(file.fileno()).st_size
    form = None
    while len(head := file.read(8)) == 8:
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"fmt ":
            form = _wav_format(file.read(size))
            if form is None:
                return None
            file.seek(size % 2, os.SEEK_CUR)
        elif name == b"data" and form is not None:
            rate, channels, bits, floating = form
            width = channels * bits // 8
            offset = file.tell()
            if size in UNKNOWN_SIZE:
                size = end - offset
            if offset + size > end:
                raise UserError(
                    f"{path} is truncated: its header promises {size // width} samples and "
                    f"{max(end - offset, 0) // width} are there; fetch or export it again"
                )
            return Info(size // width, rate, channels, bits, floating, offset)
        else:
            file.seek(size + size % 2, os.SEEK_CUR)  # chunks are padded to even lengths
    raise UserError(f"{path} is truncated: no samples follow its wav header; export it again")


def _wav_format(chunk: bytes) -> tuple[int, int, int, bool] | None:
    if len(chunk) < 16:
        return None
    code, channels, rate, _, width, bits = struct.unpack("<HHIIHH", chunk[:16])
    if code == EXTENSIBLE and len(chunk) >= 26:
        code = struct.unpack("<H", chunk[24:26])[0]
    mappable = (code == PCM and bits in (16, 24, 32)) or (code == FLOAT and bits == 32)
    if not mappable or channels == 0 or width != channels * bits // 8:
        return None
    return rate, channels, bits, code == FLOAT


def _sndfile_info(path: Path) -> Info:
    import soundfile

    try:
        found = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(
            f"{path} isn't readable audio ({_reason(error)}): "
            "expected wav or FLAC; fetch or export it again"
        ) from None
    bits = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}.get(found.subtype, 32)
    return Info(found.frames, found.samplerate, found.channels, bits, bits == 32, None)


def _reason(error: Exception) -> str:
    """What libsndfile says, without the path that it says it about."""
    return str(getattr(error, "error_string", error)).rstrip(".")
