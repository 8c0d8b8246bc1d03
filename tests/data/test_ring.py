"""The memory under the batches: where it comes from, how much of it may be taken, who locks it."""

from __future__ import annotations

import errno
import gc
import mmap
import os
import resource
import shutil
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


def large(mb: int) -> Chunks:
    """Chunks of which a ring of two single ones takes so many megabytes."""
    return Chunks(
        songs(1),
        sources=SOURCES,
        sample_rate=1000,
        channels=2,
        samples=mb * 2**20 // (2 * 4 * 2 * 2),
        context=0,
        seed=1,
        augmentation=Augmentations(),
        sampling=Sampling(balanced=True, active=0, floor=-60),
    )


@pytest.mark.filterwarnings("ignore")  # songs shorter than such chunks
def test_a_container_with_64_megabytes_of_shared_memory_is_enough() -> None:
    shared = Path("/dev/shm")
    before = shutil.disk_usage(shared).used if shared.is_dir() else 0
    built = Ring(large(80), batch_size=1, slots=2)
    built.bytes[:: mmap.PAGESIZE] = 1  # every page is there
    assert built.size > 64 * 2**20
    assert os.readlink(f"/proc/self/fd/{built.file}").startswith("/memfd:")
    if shared.is_dir():
        assert shutil.disk_usage(shared).used - before < 40 * 2**20  # others may use it meanwhile
    built.close_file()


@pytest.mark.filterwarnings("ignore")
def test_limited_memory_files_give_way_to_one_on_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    allocate = os.posix_fallocate

    def limited(file: int, start: int, size: int) -> None:
        if os.readlink(f"/proc/self/fd/{file}").startswith("/memfd:") and size > 64 * 2**20:
            raise OSError(errno.ENOSPC, "No space left on device")
        allocate(file, start, size)

    monkeypatch.setattr(os, "posix_fallocate", limited)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    built = Ring(large(80), batch_size=1, slots=2)
    assert os.readlink(f"/proc/self/fd/{built.file}").startswith(str(tmp_path))
    made = large(80)
    made.fill(made.draw(0, 0), built.rooms[1], 0)
    assert np.array_equal(built.rooms[1].stems[0], made.read(made.draw(0, 0)).stems)
    built.close_file()
    small = Ring(chunks(), batch_size=2, slots=2)
    assert os.readlink(f"/proc/self/fd/{small.file}").startswith("/memfd:")
    small.close_file()


@pytest.mark.filterwarnings("ignore")
def test_a_limit_of_64_megabytes_on_every_file_is_one_sentence() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    files = set(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 2**20, hard))
    try:
        with pytest.raises(UserError, match=r"0.08 GB .*lower data.batch_size, data.prefetch"):
            Ring(large(80), batch_size=1, slots=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert set(os.listdir("/proc/self/fd")) == files  # nothing stays open


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
