"""Batches don't depend on who reads them, and whoever reads them ends in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_songs import SOURCES, FakeSong, songs

from sepexp.augmentation.chain import Augmentations
from sepexp.augmentation.gain import Gain
from sepexp.augmentation.mixup import Mixup
from sepexp.augmentation.pitch import Pitch
from sepexp.augmentation.remix import Remix
from sepexp.augmentation.tempo import Tempo
from sepexp.data import ring
from sepexp.data.batch import Batch
from sepexp.data.chunks import Chunks
from sepexp.data.loader import Loader
from sepexp.data.ring_crew import first_row
from sepexp.data.sampling import Sampling
from sepexp.data.store import StoredTrack
from sepexp.data.track import look_at
from sepexp.errors import UserError

EXAMPLES = 48


def chunks(
    tracks: list[Any], examples: int = EXAMPLES, samples: int = 9000, p: float = 0.2
) -> Chunks:
    return Chunks(
        tracks,
        sources=SOURCES,
        sample_rate=44100,
        channels=2,
        samples=samples,
        context=20,
        seed=3,
        augmentation=Augmentations(
            remix=Remix(p=0.5),
            mixup=Mixup(p=0.1, low=0.5, high=1),
            tempo=Tempo(p=p, deviation=0.05, limit=0.12),
            pitch=Pitch(p=p, semitones=2, untouched=["drums"], together=False),
            gain=Gain(low=0.25, high=1.25),
        ),
        sampling=Sampling(balanced=False, active=0, floor=-60),
        examples=examples,
    )


@contextmanager
def loader(made: Chunks, **changes: Any) -> Iterator[Loader]:
    settings: dict[str, Any] = {
        "batch_size": 4,
        "rank": 0,
        "world": 1,
        "workers": 0,
        "prefetch": 2,
        "position": lambda: (5, 0),
    }
    built = Loader(made, **(settings | changes))
    try:
        yield built
    finally:
        built.close()


def examples(batches: Any) -> dict[int, tuple[bytes, ...]]:
    """Each example's number and bits."""
    found: dict[int, tuple[bytes, ...]] = {}
    for batch in batches:
        for row, index in enumerate(batch.index.tolist()):
            assert index not in found
            parts = [batch.stems, batch.present, batch.songs, *batch.numbers.values()]
            found[index] = tuple(part[row].numpy().tobytes() for part in parts)
    return found


@pytest.fixture(scope="module")
def truth() -> dict[int, tuple[bytes, ...]]:
    made = chunks(songs(4, frames=50000, rate=44100))
    with loader(made) as built:
        found = examples(built)
    assert list(found) == list(range(EXAMPLES))
    return found


@pytest.mark.parametrize("workers, batch_size", [(0, 1), (0, 16), (1, 4), (2, 16), (3, 1)])
def test_workers_and_batch_sizes_change_no_bit(
    truth: dict[int, tuple[bytes, ...]], workers: int, batch_size: int
) -> None:
    made = chunks(songs(4, frames=50000, rate=44100))
    with loader(made, workers=workers, batch_size=batch_size) as built:
        assert examples(built) == truth
        assert examples(built) == truth  # the next epoch, from the same workers


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_share_each_steps_examples(truth: dict[int, tuple[bytes, ...]], world: int) -> None:
    made = chunks(songs(4, frames=50000, rate=44100))
    steps: list[set[int]] = [set() for _ in range(EXAMPLES // 12)]
    found: dict[int, tuple[bytes, ...]] = {}
    for rank in range(world):
        with loader(made, rank=rank, world=world, batch_size=12 // world) as built:
            assert len(built) == len(steps)
            for step, batch in zip(steps, built, strict=True):
                mine = examples([batch])
                assert not found.keys() & mine.keys()
                found |= mine
                step.update(mine)
    assert found == truth
    assert steps == [set(range(12 * n, 12 * n + 12)) for n in range(len(steps))]


@pytest.mark.slow
def test_ten_thousand_examples_are_equal_for_every_way_of_reading() -> None:
    made = chunks(songs(4, frames=50000, rate=44100), examples=10000, samples=500, p=0.01)

    def read(**changes: Any) -> dict[int, int]:
        with loader(made, **changes) as built:
            return {
                index: hash(bits) for batch in built for index, bits in examples([batch]).items()
            }

    truth = read()
    assert list(truth) == list(range(10000))
    for workers in (1, 2, 3):
        assert read(workers=workers) == truth
    for batch_size in (1, 16):
        assert read(batch_size=batch_size) == truth
    for world in (2, 3, 4):
        parts = [read(rank=rank, world=world, batch_size=5) for rank in range(world)]
        whole = 10000 // (5 * world) * 5 * world  # three ranks leave ten examples over
        assert sum(map(len, parts)) == whole
        found = {index: bits for part in parts for index, bits in part.items()}
        assert found == {index: truth[index] for index in range(whole)}
    generator = torch.Generator().manual_seed(1)
    for step in torch.randint(0, 2500, (20,), generator=generator).tolist():
        rest = read(position=lambda step=step: (5, step))
        assert rest == {index: truth[index] for index in range(4 * step, 10000)}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_where_it_was_left(
    truth: dict[int, tuple[bytes, ...]], workers: int
) -> None:
    done = 0
    made = chunks(songs(4, frames=50000, rate=44100))
    with loader(made, workers=workers, position=lambda: (5, done)) as built:
        for done in (11, 3, 7, 12):
            batches = iter(built)
            first = next(batches, None)
            expected = range(4 * done, 4 * done + 4) if done < 12 else None
            assert (first and first.index.tolist()) == (expected and list(expected))
            if first is not None:  # the rest is abandoned, the workers are not
                assert examples([first]) == {index: truth[index] for index in expected}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_lives_until_the_second_next_is_asked_for(workers: int) -> None:
    made = chunks(songs(4, frames=50000, rate=44100), samples=500)
    with loader(made, workers=workers, batch_size=4, prefetch=1) as built:
        before: list[tuple[Batch, dict]] = []
        for _ in range(2):  # also over the end of an epoch
            for batch in built:
                before.append((batch, examples([batch])))
                for old, bits in before[-2:]:
                    assert examples([old]) == bits


@pytest.mark.parametrize("batch_size", [1, 3, 4])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_workers_share_the_rows_evenly(batch_size: int, workers: int) -> None:
    counts = [0] * workers
    for number in range(30):
        rows: list[int] = []
        for worker in range(workers):
            first = first_row(worker, number, batch_size=batch_size, workers=workers)
            mine = range(first, batch_size, workers)
            counts[worker] += len(mine)
            rows += mine
        assert sorted(rows) == list(range(batch_size))
    assert max(counts) - min(counts) <= 1


def test_memory_is_used_again() -> None:
    made = chunks(songs(4, frames=50000, rate=44100), samples=500)
    with loader(made) as built:
        assert len({batch.stems.data_ptr() for batch in built}) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_song_is_named_and_the_batches_before_it_are_given(workers: int) -> None:
    good = songs(40, frames=50000, rate=44100)
    bad = FakeSong(name="broken", number=1, frames=50000, rate=44100, fault="damaged")
    made = chunks([*good, bad], samples=500)
    plans = [made.draw(index, 5) for index in range(EXAMPLES)]
    reads = [[read for read in plan.reads + plan.seconds if read] for plan in plans]
    hit = next(i for i, mine in enumerate(reads) if 40 in [read.song for read in mine])
    assert hit >= 8
    given = []
    with (
        loader(made, workers=workers) as built,
        pytest.raises(
            UserError, match=r"can't read \w+ of broken from sample \d+ to .* ends early"
        ),
    ):
        for batch in built:
            given += batch.index.tolist()
    assert given == list(range(hit // 4 * 4))


def test_a_fault_of_ours_comes_with_its_trace() -> None:
    made = chunks(songs(2, frames=50000, rate=44100, fault="bug"), samples=500)
    with (
        loader(made, workers=1) as built,
        pytest.raises(RuntimeError, match="(?s)batch 0 of epoch 5.*a slip of ours"),
    ):
        next(iter(built))


def test_a_killed_worker_ends_in_one_sentence() -> None:
    made = chunks(songs(4, frames=50000, rate=44100), samples=500)
    with loader(made, workers=2, batch_size=2) as built:
        batches = iter(built)
        next(batches)
        assert built._crew is not None
        os.kill(built._crew.workers[1].process.pid, signal.SIGKILL)
        with pytest.raises(
            UserError, match=r"worker 1 \(process \d+\) was ended by SIGKILL.*memory.*resume=auto"
        ):
            list(batches)
        assert built._crew is None
        assert len(examples(built)) == EXAMPLES  # whoever goes on gets new workers


def test_a_worker_that_is_killed_by_its_reading_names_the_batch() -> None:
    made = chunks(songs(4, frames=50000, rate=44100, fault="killed"), samples=500)
    with (
        loader(made, workers=1) as built,
        pytest.raises(UserError, match="SIGKILL while it read batch 0 of epoch 5"),
    ):
        next(iter(built))


def test_classes_that_a_worker_cannot_have_are_refused() -> None:
    class Local(FakeSong):
        """Not importable."""

    with (
        loader(chunks([Local(name="local", number=0)], samples=500), workers=1) as built,
        pytest.raises(UserError, match="data.num_workers=0"),
    ):
        next(iter(built))


def test_workers_end_with_the_loader_and_ignore_interrupts() -> None:
    made = chunks(songs(4, frames=50000, rate=44100), samples=500)
    with loader(made, workers=2) as built:
        batches = iter(built)
        next(batches)
        assert built._crew is not None
        processes = [worker.process for worker in built._crew.workers]
        for process in processes:
            process.send_signal(signal.SIGINT)
        assert len(list(batches)) == EXAMPLES // 4 - 1
        began = time.monotonic()
    assert [process.returncode for process in processes] == [0, 0]
    assert time.monotonic() - began < 1.5


PARENT = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts deaf to it
from fake_songs import SOURCES, songs
from sepexp.augmentation.chain import Augmentations
from sepexp.data.chunks import Chunks
from sepexp.data.ring import Ring
from sepexp.data.ring_crew import Crew
from sepexp.data.sampling import Sampling
made = Chunks(songs(2), sources=SOURCES, sample_rate=1000, channels=2, samples=50, context=0,
    seed=1, augmentation=Augmentations(), sampling=Sampling(balanced=False, active=0, floor=0))
crew = Crew(made, Ring(made, batch_size=2, slots=2), batch_size=2, workers=2)
crew.wait(crew.ask(slot=0, epoch=0, number=0, first_index=0))
fork = os.fork()  # holds the pipes open, so that they don't say that this process is gone
if fork:
    print(fork, *[worker.process.pid for worker in crew.workers], flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_die_with_their_parent(how: signal.Signals) -> None:
    tests = Path(__file__).parent.parent
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}"},
        text=True,
    )
    assert parent.stdout is not None
    fork, *pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.send_signal(how)
    parent.wait(10)
    deadline = time.monotonic() + 10
    while any(_lives(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(fork, signal.SIGKILL)
    assert not any(_lives(pid) for pid in pids)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_a_worker_over_sixteen_gigabytes_keeps_to_itself(tmp_path: Path) -> None:
    size, frames = 2 * 10**9, 2 * 10**9 // (4 * 2 * 2)
    tracks = []
    for number in range(8):
        path = tmp_path / f"{number}.pcm"
        path.touch()
        os.truncate(path, size)  # sparse
        tracks.append(
            StoredTrack(
                name=path.stem, rate=44100, frames=frames, channels=2, sources=SOURCES,
                dtype=np.int16, fingerprint="", index=look_at(path), files=(look_at(path),),
                rows=SOURCES, origin=FakeSong(name=path.stem, number=number),
            )
        )  # fmt: skip
    made = chunks(tracks, samples=6 * 44100, examples=100)  # 420 MB are read
    with loader(made, workers=1, batch_size=1) as built:
        for _ in built:
            pass
        assert built._crew is not None and built._ring is not None
        rolled = Path(f"/proc/{built._crew.workers[0].process.pid}/smaps_rollup").read_text()
        held = {words[0]: int(words[1]) * 1024 for words in map(str.split, rolled.splitlines()[1:])}
        # clean pages are the system's cache of the songs: it takes them back when it needs memory
        assert held["Private_Dirty:"] - built._ring.size < 150e6
        assert held["Anonymous:"] < 150e6


@pytest.mark.parametrize("workers", [1])
def test_too_little_memory_is_said_before_it_is_taken(
    monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(ring, "free_memory", lambda: 10_000_000)
    with (
        loader(chunks(songs(2, frames=50000, rate=44100)), workers=workers, prefetch=30) as built,
        pytest.raises(UserError, match=r"32 batches .* only 0.01 GB are free: lower data.batch"),
    ):
        next(iter(built))


def test_with_64_megabytes_free_the_sentence_names_what_fits_and_that_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ring, "free_memory", lambda: 64_000_000)
    made = chunks(songs(2, frames=50000, rate=44100), samples=44100)
    with (
        loader(made, workers=1, batch_size=64, prefetch=4) as built,
        pytest.raises(UserError, match=r"0.06 GB are free: lower data.batch_size to \d+") as said,
    ):
        next(iter(built))
    fitting = int(str(said.value).split("data.batch_size to ")[1].split(",")[0])
    assert 0 < fitting < 64
    with loader(made, workers=1, batch_size=fitting, prefetch=4) as built:
        assert len(next(iter(built)).index) == fitting


@pytest.mark.parametrize(
    "change, words",
    [
        ({"batch_size": 0}, "batch_size"),
        ({"workers": -1}, "num_workers"),
        ({"prefetch": 0}, "fetch"),
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, int], words: str) -> None:
    with pytest.raises(UserError, match=words), loader(chunks(songs(1)), **change):
        pass


def test_an_epoch_has_at_least_one_batch() -> None:
    with loader(chunks(songs(4, frames=50000, rate=44100), examples=3)) as built:
        assert len(built) == 1
        assert [batch.index.tolist() for batch in built] == [[0, 1, 2, 3]]
