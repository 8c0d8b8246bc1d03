"""The torch path gives the numbers of the NumPy path, on the CPU and on a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sepexp.errors import UserError
from sepexp.metric import bsseval, bsseval_torch
from sepexp.metric.bsseval import bss_eval


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize(("window", "hop"), [(4000, 4000), (900.5, 700.2), (math.inf, math.inf)])
def test_equals_numpy(
    pieces: bool,
    window: float,
    hop: float,
    stems: Callable,
    largest_difference: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bsseval, "TAPS", 64)
    if pieces:
        monkeypatch.setattr(bsseval_torch, "PIECE", 1000)
        monkeypatch.setattr(bsseval_torch, "BLOCKS", 2)
    references, estimates = stems(channels=2)
    references[1, 4000:8000] = 0
    ours = bss_eval(references, estimates, window, hop)
    theirs = bss_eval(references, estimates, window, hop, device="cpu")
    assert largest_difference(theirs, ours) < 1e-9
    narrow = bss_eval(references.astype(np.float32), estimates, window, hop, device="cpu")
    assert largest_difference(narrow, ours) < 1e-3  # the references were rounded


def test_refuses_devices_without_float64(stems: Callable) -> None:
    with pytest.raises(UserError, match="float64"):
        bss_eval(*stems(), 4000, 4000, device="mps")


@pytest.mark.gpu
def test_equals_numpy_on_a_gpu(stems: Callable, largest_difference: Callable) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    pair = stems(sources=4, channels=2, samples=100_000)
    ours, theirs = (bss_eval(*pair, 8000, 8000, device=device) for device in (None, "cuda"))
    assert largest_difference(theirs, ours) < 1e-9
