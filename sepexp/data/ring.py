"""A ring of batches in one block of memory that is allocated once and used again and again.

Fresh memory for every batch costs a page fault each 4 KiB, which takes longer than reading the
audio. Numpy only: worker processes import this.
"""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sepexp.data.chunks import Chunks, Example
from sepexp.errors import UserError

ALIGNED = 4096  # pages: slots never share one, and pinning counts in them
MOST = 0.8  # of the free memory


class Ring:
    """Rooms for batches, over private memory or over a file that workers map too.

    Args:
        chunks: Says what a batch looks like.
        batch_size: Examples a batch.
        slots: Number of rooms.
        file: Descriptor of the memory another process made; None makes it here.
        shared: Make memory that workers can map; False keeps it in this process.

    Raises:
        UserError: There is too little free memory.
    """

    def __init__(
        self,
        chunks: Chunks,
        *,
        batch_size: int,
        slots: int,
        shared: bool = True,
        file: int | None = None,
    ) -> None:
        slot = _size(lambda make: chunks.room(batch_size, make))
        self.size = ALIGNED + slots * slot
        self.file = -1
        if file is not None:
            self.file = file
        elif shared:
            _check(self.size, slots, batch_size)
            self.file = _reserved(self.size)
        if self.file >= 0:
            self.memory = mmap.mmap(self.file, self.size)
        else:
            self.memory = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        # Huge pages, where the system has them, make writing a quarter faster.
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.bytes = np.frombuffer(self.memory, np.uint8)
        # The word that says which iteration is wanted: fills for an older one are skipped.
        self.wanted = self.bytes[:8].view(np.int64)
        self.rooms = [
            chunks.room(batch_size, _carver(self.bytes, ALIGNED + number * slot))
            for number in range(slots)
        ]

    def close_file(self) -> None:
        """Forget the descriptor; the maps stay."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


def free_memory() -> int:
    """Bytes that can be had: of the machine, or of the container where that has fewer."""
    found = [_meminfo()]
    for limit, usage, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
        ),
    ):
        try:
            group = Path("/sys/fs/cgroup")
            bound = int((group / limit).read_text())
            used = int((group / usage).read_text())
            lines = (line.split() for line in (group / stat).read_text().splitlines())
            cached = sum(int(n) for k, n in lines if k in ("inactive_file", "active_file"))
            found.append(bound - used + cached)
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return max(0, min(found))


def _meminfo() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 2**62  # not Linux: the allocation itself will tell
    return next((int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable")), 2**62)


def _check(size: int, slots: int, batch_size: int) -> None:
    free = free_memory()
    if size > MOST * free:
        fitting = int(batch_size * MOST * free / size)
        down = f" to {fitting}" if fitting else ""
        raise UserError(
            f"{slots} batches of training chunks need {size / 1e9:.2f} GB of memory, but only "
            f"{free / 1e9:.2f} GB are free: lower data.batch_size{down}, data.prefetch or "
            "data.segment"
        )


def _reserved(size: int) -> int:
    """A file of which every page is there, in memory or else on disk.

    /dev/shm is not used: containers give it 64 MB, and what doesn't fit ends in SIGBUS. A memory
    file counts like ordinary memory. Where it is forbidden or limited, a file on disk stands in:
    its pages are the system's cache, so it is slower only where that is short.
    """
    with contextlib.suppress(AttributeError, OSError):  # not Linux, forbidden, limited
        return _whole(os.memfd_create("sepexp-ring", os.MFD_CLOEXEC), size)
    try:
        file, path = tempfile.mkstemp(prefix="sepexp-ring-")
        os.unlink(path)
        return _whole(file, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EDQUOT):
            raise
        raise UserError(
            f"{size / 1e9:.2f} GB for batches of training chunks can't be had "
            f"({error.strerror}): lower data.batch_size, data.prefetch or data.segment, "
            f"or point TMPDIR to a disk with room ({tempfile.gettempdir()} has too little)"
        ) from None


def _whole(file: int, size: int) -> int:
    """Give an empty file all its pages now, when too few can still be said, or close it."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        else:
            os.ftruncate(file, size)
    except OSError:
        os.close(file)
        raise
    return file


def _carver(memory: np.ndarray, offset: int) -> Callable[..., np.ndarray]:
    """Like np.empty, but out of `memory` from `offset` on."""

    def make(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        nonlocal offset
        size = math.prod(shape) * np.dtype(dtype).itemsize
        part = memory[offset : offset + size].view(dtype).reshape(shape)
        offset += _rounded(size)
        return part

    return make


def _size(build: Callable[[Callable[..., np.ndarray]], Example]) -> int:
    total = 0

    def make(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        nonlocal total
        total += _rounded(math.prod(shape) * np.dtype(dtype).itemsize)
        return np.empty(0)

    build(make)
    return total


def _rounded(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED
