"""The memory under the batches: where it comes from, how much of it may be taken, who locks it."""

from __future__ import annotations

import errno
import gc
import os
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fake_songs import SOURCES, songs

from sepexp.augmentation.chain import Augmentations
from sepexp.data import pinning, ring
from sepexp.data.chunks import Chunks
from sepexp.data.ring import Ring
from sepexp.data.sampling import Sampling
from sepexp.errors import UserError


def chunks(tracks: list[Any] | None = None) -> Chunks:
    return Chunks(
        tracks or songs(2),
        sources=SOURCES,
        sample_rate=1000,
        channels=2,
        samples=777,
        context=0,
        seed=1,
        augmentation=Augmentations(),
        sampling=Sampling(balanced=True, active=0, floor=-60),
    )


@pytest.mark.parametrize("shared", [True, False])
def test_slots_lie_apart_and_hold_what_is_written(shared: bool) -> None:
    made = chunks()
    built = Ring(made, batch_size=3, slots=4, shared=shared)
    assert (built.file >= 0) == shared
    plans = [made.draw(index, 0) for index in range(12)]
    for index, plan in enumerate(plans):
        made.fill(plan, built.rooms[index // 3], index % 3)
    for index, plan in enumerate(plans):
        room = built.rooms[index // 3]
        assert room.stems.ctypes.data % ring.ALIGNED == 0
        assert np.array_equal(room.stems[index % 3], made.read(plan).stems)
        assert room.index[index % 3] == index
    assert built.wanted[0] == 0
    built.close_file()


def test_another_map_of_the_same_file_sees_the_same_batches() -> None:
    made = chunks()
    ours = Ring(made, batch_size=2, slots=2)
    theirs = Ring(made, batch_size=2, slots=2, file=os.dup(ours.file))
    made.fill(made.draw(5, 0), theirs.rooms[1], 1)
    assert ours.rooms[1].index[1] == 5
    assert np.array_equal(ours.rooms[1].stems[1], made.read(made.draw(5, 0)).stems)
    for one in (ours, theirs):
        one.close_file()


def test_a_file_stands_in_where_memory_files_are_forbidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forbidden(*_: Any) -> int:
        raise OSError(errno.EPERM, "forbidden")

    monkeypatch.setattr(os, "memfd_create", forbidden)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    built = Ring(chunks(), batch_size=2, slots=2)
    assert list(tmp_path.iterdir()) == []  # it has no name, so nobody must remove it
    assert os.fstat(built.file).st_size == built.size
    built.close_file()


def test_a_full_disk_or_memory_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match="No space left.*data.batch_size.*TMPDIR"):
        Ring(chunks(), batch_size=2, slots=2)


def test_the_containers_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:   5000 kB\n",
        "/sys/fs/cgroup/memory.max": "3000000\n",
        "/sys/fs/cgroup/memory.current": "2500000\n",
        "/sys/fs/cgroup/memory.stat": "anon 7\ninactive_file 300000\nactive_file 100000\n",
    }

    def read(path: Path, *_: Any) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    assert ring.free_memory() == 900000  # the limit, less what is used and isn't cache
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert ring.free_memory() == 5000 * 1024


class FakeCuda:
    """Counts what would be locked."""

    def __init__(self, answer: int) -> None:
        self.answer, self.locked = answer, {}

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802
        self.locked[address] = size
        return self.answer

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        del self.locked[address]
        return 0


def test_memory_is_locked_once_and_let_go_before_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(0)
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(cudart=lambda: cuda))
    built = Ring(chunks(), batch_size=2, slots=2, shared=False)
    undo = pinning.pin(built)
    assert cuda.locked == {built.bytes.ctypes.data: built.size} and undo is not None
    undo()
    undo()
    assert cuda.locked == {}
    pinning.pin(built)
    gone = weakref.ref(built)
    del built
    gc.collect()
    assert gone() is None and cuda.locked == {}  # also when nobody calls it


def test_memory_that_cannot_be_locked_is_used_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(cudart=lambda: FakeCuda(2)))
    built = Ring(chunks(), batch_size=2, slots=2, shared=False)
    with pytest.warns(UserWarning, match=r"could not be locked.*CUDA error 2"):
        assert pinning.pin(built) is None
