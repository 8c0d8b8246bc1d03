"""Lock a ring's memory, so that a GPU copies from it while the program goes on."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch

from sepexp.data.ring import Ring


def pin(ring: Ring) -> Callable[[], Any] | None:
    """Register the memory with CUDA once; where that fails, copies just block.

    Returns what undoes it. It is undone before the memory goes, whoever forgets to call it.
    """
    address = ring.bytes.ctypes.data
    cuda = torch.cuda.cudart()
    code = int(cuda.cudaHostRegister(address, ring.size, 0))
    if code != 0:
        warnings.warn(
            f"{ring.size / 1e9:.2f} GB of batches could not be locked in memory (CUDA error "
            f"{code}): copies to the GPU will be slower; ulimit -l may be too low",
            stacklevel=3,
        )
        return None
    # The map is handed over too, so that it lives as long as it is registered.
    return weakref.finalize(ring, _unpin, cuda, address, ring.memory)


def _unpin(cuda: Any, address: int, memory: Any) -> None:
    cuda.cudaHostUnregister(address)
