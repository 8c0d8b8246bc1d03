"""A mixture that is read where it is sliced, beside the tensor that holds all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fake_songs import FakeSong

from sepexp.data.batch import Whole
from sepexp.data.windows import Windows


class Watched(FakeSong):
    """Remembers how much was asked for at once."""

    def read_mixture(self, start: int, frames: int) -> np.ndarray:
        ASKED.append(frames)
        return super().read_mixture(start, frames)


ASKED: list[int] = []


def windows(wanted: int = 2, **song: Any) -> Windows:
    ASKED.clear()
    track = Watched(name="song", number=1, **song)
    return Windows(track, start=100, frames=3000, channels=wanted)


@pytest.mark.parametrize("channels, theirs", [(2, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_slices_are_the_tensors(channels: int, theirs: int, dtype: Any) -> None:
    read = windows(channels, channels=theirs, dtype=dtype)
    whole = read[..., :]
    assert whole.shape == read.shape == (channels, 3000) and whole.dtype == torch.float32
    stored = FakeSong(name="song", number=1, channels=theirs, dtype=dtype).read_mixture(100, 3000)
    assert np.array_equal(whole.numpy()[0], stored.mean(axis=0) if channels == 1 else stored[0])
    for first, last in ((0, 1), (17, 900), (2500, 4000), (3000, 3000), (-5, 3000)):
        assert torch.equal(read[..., first:last], whole[..., first:last])


def test_only_what_is_sliced_is_read() -> None:
    read = windows()
    read[..., 5:25]
    assert ASKED == [20]


def test_a_batchs_transfer_moves_the_slices() -> None:
    from lightning.fabric.utilities import move_data_to_device

    none = torch.zeros(0)
    moved = move_data_to_device(Whole("song", windows(), none, none), torch.device("meta"))
    assert moved.mixture.device.type == "meta" and ASKED == []
    assert moved.mixture[..., :7].shape == (2, 7) and moved.mixture[..., :7].is_meta
