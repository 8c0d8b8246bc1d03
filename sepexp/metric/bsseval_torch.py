"""Steps 1 and 3 of BSSEval in torch, for a GPU; NumPy arrays in and out, float64 inside.

The filters between them are solved on the host: 512 dependent tiny steps gain nothing on a GPU.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sepexp.errors import UserError
from sepexp.metric.bsseval_correlations import FFT
from sepexp.metric.bsseval_filters import Filters
from sepexp.metric.bsseval_frames import Energies, smooth_length

BLOCKS = 256  # blocks transformed together: about 400 MiB for 8 + 8 channels
PIECE = 1 << 18
SAMPLES = 1 << 20  # samples of one channel transformed together: about 500 MiB for 8 + 8


def torch_correlations(
    references: np.ndarray, estimates: np.ndarray, taps: int, device: str
) -> np.ndarray:
    """`bsseval_correlations.correlations` on a device, same shapes."""
    place = _float64_device(device)
    samples = references.shape[-1]
    inputs = references.shape[0] * references.shape[1]
    block = FFT - taps + 1
    total = torch.zeros(FFT // 2 + 1, inputs, 2 * inputs, dtype=torch.complex128, device=place)
    for start in range(0, samples, BLOCKS * block):
        count = min(BLOCKS, -(-(samples - start) // block))
        stretch = _load(references, estimates, start, (count - 1) * block + FFT, samples, place)
        blocks = stretch.unfold(-1, FFT, block)
        right = torch.fft.rfft(blocks).permute(2, 1, 0)
        left = torch.fft.rfft(blocks[:inputs, :, :block], n=FFT).conj().permute(2, 0, 1)
        total += left @ right
    lags = torch.fft.irfft(total.permute(1, 2, 0), n=FFT)[..., :taps]
    return lags.permute(2, 0, 1).contiguous().cpu().numpy()


def torch_energies(
    references: np.ndarray,
    estimates: np.ndarray,
    bounds: list[tuple[int, int]],
    filters: Filters,
    device: str,
) -> Energies:
    """`bsseval_frames.frame_energies` on a device, by overlap-save, same shapes.

    Inverse transforms cost little there, and one path serves frames of any length.
    """
    place = _float64_device(device)
    taps = len(filters.every)
    longest = max(stop - start for start, stop in bounds)
    length = min(smooth_length(longest + 2 * (taps - 1)), PIECE)
    responses = _responses(filters, length, place)
    step = length - taps + 1
    count = max(1, SAMPLES // length)
    firsts = list(range(0, longest + taps - 1, step))
    parts = []
    for index in range(0, len(bounds), count):
        group = bounds[index : index + count]
        pieces = (_pieces(references, estimates, group, first, responses, taps) for first in firsts)
        parts.append(torch.stack(list(pieces)).sum(dim=0))
    return Energies(*torch.cat(parts, dim=-1).cpu().numpy())


def _float64_device(device: str) -> torch.device:
    place = torch.device(device)
    if place.type == "mps":
        raise UserError("device mps has no float64: take cuda, or none for NumPy.")
    return place


def _load(
    references: np.ndarray,
    estimates: np.ndarray,
    start: int,
    length: int,
    end: int,
    place: torch.device,
) -> Tensor:
    """Samples start ... start + length of all channels, zeros outside 0 ... end, as float64."""
    begin, stop = max(start, 0), max(min(start + length, end), 0)
    parts = [signals[..., begin:stop] for signals in (references, estimates)]
    values = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])
    # the narrow type travels, the wide one is made on the device
    stretch = torch.from_numpy(np.ascontiguousarray(values)).to(place).double()
    before = begin - start
    return torch.nn.functional.pad(stretch, (before, length - before - stretch.shape[-1]))


def _responses(filters: Filters, length: int, place: torch.device) -> tuple[Tensor, Tensor]:
    own, every = (
        torch.fft.rfft(torch.from_numpy(np.ascontiguousarray(taps)).to(place), n=length, dim=0)
        for taps in (filters.own, filters.every)
    )
    return own.movedim(0, -1), every.transpose(1, 2).contiguous()


def _pieces(
    references: np.ndarray,
    estimates: np.ndarray,
    group: list[tuple[int, int]],
    first: int,
    responses: tuple[Tensor, Tensor],
    taps: int,
) -> Tensor:
    """Energies (7, sources, frames) of one piece of every frame of a group."""
    own, every = responses
    sources, channels = own.shape[:2]
    inputs, past = sources * channels, taps - 1
    length = 2 * (own.shape[-1] - 1)
    stretches = []
    for start, stop in group:
        cut = references[..., start:stop], estimates[..., start:stop]
        stretches.append(_load(*cut, first - past, length, stop - start, own.device))
    signals = torch.stack(stretches, dim=1)
    spectra = torch.fft.rfft(signals[:inputs])
    images = spectra.reshape(sources, channels, 1, *spectra.shape[1:])
    projected = (own[:, :, :, None] * images).sum(dim=1).reshape(spectra.shape)
    explained = (every @ spectra.permute(2, 0, 1)).permute(1, 2, 0)
    own_part = torch.fft.irfft(projected, n=length)[..., past:]
    all_part = torch.fft.irfft(explained, n=length)[..., past:]
    truth, estimate = signals[:inputs, :, past:], signals[inputs:, :, past:]
    parts = [
        truth,
        estimate - truth,
        own_part - truth,
        own_part,
        all_part - own_part,
        all_part,
        estimate - all_part,
    ]
    powers = torch.stack([(part**2).sum(dim=-1) for part in parts])
    return powers.reshape(len(parts), sources, channels, -1).sum(dim=2)
