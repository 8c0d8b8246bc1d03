"""Training examples a second and core against the readers of other projects, as ratios of one run.

Makes its own songs. An example is 6 s of four stereo stems, each from its own song and place, with
gain and channel swap. All readers share one core; the time is processor time, child processes
counted; every figure is the best of many short interleaved rounds, because other work disturbs.

    python benchmarks/stream.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from sepexp.augmentation.chain import Augmentations
from sepexp.augmentation.gain import Gain
from sepexp.augmentation.pitch import Pitch
from sepexp.augmentation.remix import Remix
from sepexp.augmentation.swap import Swap
from sepexp.augmentation.tempo import Tempo
from sepexp.data.folder import Folder
from sepexp.data.module import Stream
from sepexp.data.sampling import Sampling
from sepexp.data.store import Store

RATE, SECONDS, SONGS, SONG_SECONDS, BATCH = 44100, 6.0, 8, 40, 16
FRAMES = round(RATE * SECONDS)
SOURCES = ("vocals", "drums", "bass", "other")
Reader = Callable[[int], None]  # reads so many examples


def make_songs(root: Path) -> None:
    """Coloured noise with rests, in the layout of MUSDB18-HQ."""
    generator = np.random.default_rng(1)
    for number in range(SONGS):
        folder = root / ("train" if number else "test") / f"song {number}"
        folder.mkdir(parents=True)
        for name in (*SOURCES, "mixture"):
            noise = generator.standard_normal((RATE * SONG_SECONDS, 2)).cumsum(axis=0)
            noise -= np.repeat(noise[:: RATE // 10], RATE // 10, axis=0)
            audio = np.clip(noise * 60, -30000, 30000).astype(np.int16)
            soundfile.write(folder / f"{name}.wav", audio, RATE, subtype="PCM_16")


def cpu_seconds(children: list[int]) -> float:
    """Processor time of this process, of children that ended and of those named, to the ns."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for pid in children:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0]) / 1e9
    return total


def asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S"


class Places:
    """Songs and starts for the peers, from one generator, as their datasets draw them."""

    def __init__(self, root: Path) -> None:
        self.songs = sorted((root / "train").iterdir())
        self.generator = np.random.default_rng(1)

    def draw(self) -> tuple[Path, int]:
        song = self.songs[self.generator.integers(len(self.songs))]
        return song, int(self.generator.integers(RATE * SONG_SECONDS - FRAMES))

    def gain(self) -> float:
        return float(self.generator.uniform(0.25, 1.25))

    def swap(self) -> bool:
        return bool(self.generator.random() < 0.5)


def plain_soundfile(places: Places) -> np.ndarray:
    """The shortest program that does it: open, read float32, scale, swap, into place."""
    example = np.empty((4, 2, FRAMES), np.float32)
    for source, name in enumerate(SOURCES):
        song, start = places.draw()
        path = song / f"{name}.wav"
        audio, _ = soundfile.read(path, frames=FRAMES, start=start, dtype="float32")
        taken = audio[:, ::-1] if places.swap() else audio
        np.multiply(taken.T, np.float32(places.gain()), out=example[source])
    return example


def open_unmix_folders(places: Places) -> torch.Tensor:
    """Open-Unmix's track folders, random mix: header, window, tensor, gain, flip, stack."""
    stems = []
    for name in SOURCES:
        song, start = places.draw()
        path = str(song / f"{name}.wav")
        soundfile.info(path)
        audio, _ = soundfile.read(path, frames=FRAMES, start=start, dtype="float32", always_2d=True)
        stem = torch.from_numpy(audio.T.copy())
        stem = stem * places.gain()
        stems.append(torch.flip(stem, [0]) if places.swap() else stem)
    return torch.stack(stems)


def asteroid(places: Places) -> torch.Tensor:
    """Asteroid's MUSDB18 data set: float64 windows, then a float32 stack."""
    stems = []
    for name in SOURCES:
        song, start = places.draw()
        audio, _ = soundfile.read(song / f"{name}.wav", frames=FRAMES, start=start, always_2d=True)
        audio = audio * places.gain()
        stems.append((audio[:, ::-1] if places.swap() else audio).T)
    return torch.tensor(np.stack(stems), dtype=torch.float32)


def msst(places: Places) -> torch.Tensor:
    """MSST's first data set type: float32 windows, quiet ones read and thrown away, loudness."""
    stems = []
    for name in SOURCES:
        while True:
            song, start = places.draw()
            audio, _ = soundfile.read(
                song / f"{name}.wav", frames=FRAMES, start=start, dtype="float32"
            )
            if np.abs(audio).mean() >= 0.001:
                break
        audio = audio.T * np.float32(places.gain())
        stems.append(audio[::-1] if places.swap() else audio)
    return torch.tensor(np.array(stems), dtype=torch.float32)


def soundstretched(places: Places, p: float) -> np.ndarray:
    """Demucs' way to pitch and tempo: each stem through two wav files and the soundstretch program.

    Where the program is missing, ours does the stretch, and only files and process are as there.
    """
    from sepexp.dsp.stretch import change

    example = plain_soundfile(places)
    found = shutil.which("soundstretch")
    for source in range(4):
        # each by itself, as ours are drawn, so that as many stems change
        shifted, stretched = places.generator.random(2) < p
        steps = int(places.generator.integers(-2, 3)) * shifted
        percent = float(np.clip(places.generator.normal(0, 5), -12, 12)) * stretched
        if not (steps or percent):
            continue
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder, "in.wav"), Path(folder, "out.wav")
            soundfile.write(before, example[source].T, RATE, subtype="PCM_16")
            if found:
                command = [found, before, after, f"-pitch={steps}", f"-tempo={percent:.6f}"]
                subprocess.run(command, check=True, capture_output=True)
            else:
                subprocess.run(["true"], check=True)
                audio, _ = soundfile.read(before, dtype="float32")
                wide = np.pad(audio.T, ((0, 0), (0, FRAMES // 4)))
                audio = change(wide, tempo=1 + percent / 100, semitones=steps, frames=FRAMES)
                soundfile.write(after, audio.T, RATE, subtype="PCM_16")
            audio, _ = soundfile.read(after, dtype="float32")
            length = min(len(audio), FRAMES)
            example[source, :, :length] = audio[:length].T
    return example


def musdb_sources(root: Path) -> Callable[[Places], torch.Tensor] | None:
    """Open-Unmix's MUSDBDataset: musdb reads each source's window through ffmpeg's programs."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        return None
    import musdb

    tracks = musdb.DB(root=str(root), is_wav=True, subsets="train").tracks

    def example(places: Places) -> torch.Tensor:
        stems = []
        for name in SOURCES:
            track = tracks[places.generator.integers(len(tracks))]
            track.chunk_duration = SECONDS
            track.chunk_start = places.generator.uniform(0, SONG_SECONDS - SECONDS)
            stem = torch.as_tensor(track.sources[name].audio.T, dtype=torch.float32)
            stem = stem * places.gain()
            stems.append(torch.flip(stem, [0]) if places.swap() else stem)
        return torch.stack(stems)

    return example


class Forever(torch.utils.data.Dataset):
    """A reader as a data set for torch's DataLoader."""

    def __init__(self, read: Callable[[Places], Any], places: Places) -> None:
        self.read, self.places = read, places

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> Any:
        return torch.as_tensor(self.read(self.places))


class Ours:
    """Our stream; `children` are its workers."""

    def __init__(self, root: Path, workers: int, p: float) -> None:
        changed = p > 0
        self.stream = Stream(
            corpus=Folder(root=str(root), valid=["song 1"], test=None),
            store=Store(form="auto", folder=str(root / "store"), processes=1),
            augmentation=Augmentations(
                remix=Remix(p=1),
                gain=Gain(low=0.25, high=1.25),
                swap=Swap(p=0.5),
                tempo=Tempo(p=p, deviation=0.05, limit=0.12) if changed else None,
                pitch=Pitch(p=p, semitones=2, untouched=[], together=False) if changed else None,
            ),
            sampling=Sampling(balanced=True, active=0, floor=-60),
            sources=SOURCES,
            sample_rate=RATE,
            channels=2,
            segment=SECONDS,
            context=0,
            batch_size=BATCH,
            examples_per_epoch=10**6,
            num_workers=workers,
            prefetch=2,
            seed=1,
            valid_seconds=None,
            test_seconds=None,
        )
        self.stream.prepare_data()
        self.loader = self.stream.train_dataloader()
        self.batches: Iterator[Any] = iter(self.loader)
        self(BATCH * (2 if p else 4))  # every room's pages are there

    @property
    def children(self) -> list[int]:
        crew = self.loader._crew
        return [worker.process.pid for worker in crew.workers] if crew else []

    def __call__(self, examples: int) -> None:
        for _ in range(examples // BATCH):
            batch = self.stream.on_after_batch_transfer(next(self.batches), 0)
            assert batch.stems.dtype == torch.float32


class Peer:
    """A reader of another project, in this process."""

    children: list[int] = []

    def __init__(self, read: Callable[[Places], Any], places: Places) -> None:
        self.read, self.places = read, places

    def __call__(self, examples: int) -> None:
        for _ in range(examples):
            self.read(self.places)


class LoadedPeer:
    """The same through torch's DataLoader with one worker."""

    def __init__(self, read: Callable[[Places], Any], places: Places) -> None:
        data = Forever(read, places)
        self.batches = iter(torch.utils.data.DataLoader(data, batch_size=BATCH, num_workers=1))
        next(self.batches)

    @property
    def children(self) -> list[int]:
        return [worker.pid for worker in self.batches._workers]  # type: ignore[attr-defined]

    def __call__(self, examples: int) -> None:
        for _ in range(examples // BATCH):
            next(self.batches)


def settled(children: list[int]) -> float:
    """Processor time once the children have read ahead all that they may.

    So nothing that was read before a round is counted for it, nor left out of it.
    """
    still = 0
    while children and still < 10:
        time.sleep(0.02)
        still = still + 1 if all(map(asleep, children)) else 0
    return cpu_seconds(children)


def race(readers: dict[str, tuple[Any, int]], rounds: int, best: bool = True) -> dict[str, float]:
    """Examples a second of processor time: the best of interleaved rounds, or all of them.

    The best round is the least disturbed one. Where rounds differ in what is drawn, all count.
    """
    spent: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, (reader, examples) in readers.items():
            before = settled(reader.children)
            reader(examples)
            spent[name].append((settled(reader.children) - before) / examples)
    return {name: 1 / (min(times) if best else np.mean(times)) for name, times in spent.items()}


def table(title: str, rates: dict[str, float]) -> None:
    slowest = min(rates.values())
    print(f"\n{title}\n{'':56}  examples/CPU s  x slowest")
    for name, rate in sorted(rates.items(), key=lambda row: -row[1]):
        print(f"{name:56}  {rate:14.1f}  {rate / slowest:9.1f}")


def verdict(what: str, ours: float, theirs: float, goal: float) -> None:
    ratio = ours / theirs
    said = "reached" if ratio >= goal else "MISSED"
    print(f"{what}: {ratio:.1f} times, goal {goal:g}: {said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds, rough figures")
    rounds = 2 if parser.parse_args().quick else 12
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_songs(root)
        reading(root, rounds)
        stretching(root, rounds)


def reading(root: Path, rounds: int) -> None:
    places = Places(root)
    ours = {f"sepexp, {n} worker{'s' * (n != 1)}": (Ours(root, n, 0), 5 * BATCH) for n in (0, 1)}
    peers = {
        "plain soundfile": plain_soundfile,
        "Open-Unmix track folders (stand-in)": open_unmix_folders,
        "Asteroid MUSDB18 (stand-in)": asteroid,
        "MSST type 1 (stand-in)": msst,
    }
    readers: dict[str, tuple[Any, int]] = {
        name: (Peer(read, places), BATCH // 2) for name, read in peers.items()
    }
    slow = musdb_sources(root)
    if slow is not None:
        readers["Open-Unmix MUSDBDataset's reading (musdb and ffmpeg)"] = (Peer(slow, places), 1)
    rates = race(ours | readers, rounds)
    table("Gain, channel swap, remix: in this process", rates)
    fastest = max(rates[name] for name in peers)
    verdict("in process against the fastest peer", rates["sepexp, 0 workers"], fastest, 7)
    verdict("one worker against the fastest peer", rates["sepexp, 1 worker"], fastest, 7)
    if slow is None:
        print("MUSDBDataset left out: it needs ffmpeg and ffprobe on the PATH")
    else:
        ffmpeg = rates["Open-Unmix MUSDBDataset's reading (musdb and ffmpeg)"]
        verdict("in process against MUSDBDataset", rates["sepexp, 0 workers"], ffmpeg, 400)
    loaded: dict[str, tuple[Any, int]] = {
        f"{name}, DataLoader": (LoadedPeer(read, places), BATCH) for name, read in peers.items()
    }
    worker = {"sepexp, 1 worker": ours["sepexp, 1 worker"]}
    rates = race(worker | loaded, rounds)
    table("The same through one worker", rates)
    fastest = max(rates[name] for name in loaded)
    verdict("one worker against the fastest peer's", rates["sepexp, 1 worker"], fastest, 7)
    for reader, _ in ours.values():
        reader.stream.teardown()


def stretching(root: Path, rounds: int) -> None:
    places = Places(root)
    kind = "soundstretch" if shutil.which("soundstretch") else "soundstretch stand-in (our stretch)"
    for p in (0.2, 1.0):
        name = f"soundfile and {kind}"
        readers: dict[str, tuple[Any, int]] = {
            "sepexp, 0 workers": (Ours(root, 0, p), BATCH * (1 + (p < 1))),
            "sepexp, 1 worker": (Ours(root, 1, p), BATCH * (1 + (p < 1))),
            name: (Peer(lambda places, p=p: soundstretched(places, p), places), round(15 - 12 * p)),
        }
        rates = race(readers, rounds // 2, best=False)
        table(f"Pitch and tempo besides, p = {p}", rates)
        verdict(f"one worker against {kind}", rates["sepexp, 1 worker"], rates[name], 4)
        for reader, _ in readers.values():
            if isinstance(reader, Ours):
                reader.stream.teardown()


if __name__ == "__main__":
    main()
