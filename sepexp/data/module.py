"""The data module: corpus in, batches of augmented stems and whole songs out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from sepexp import audio
from sepexp.data.batch import Batch, Whole, floats, nothing, stretched
from sepexp.data.chunks import LEFT, Chunks
from sepexp.data.convert import adapt
from sepexp.data.loader import Loader
from sepexp.data.sampling import Sampling
from sepexp.data.track import Corpus, Track
from sepexp.data.windows import Windows
from sepexp.dsp import resample
from sepexp.errors import UserError

SPLITS = ("train", "valid", "test")


class Stream(lightning.LightningDataModule):
    """Random chunks of a corpus for training, whole songs for validation.

    Args:
        corpus: An object with `prepare()` and `open()`.
        store: An object with `prepare(corpus)` and `open(corpus) -> Corpus` that keeps the songs in
            a faster form; None reads the corpus' own files.
        augmentation: An ordered container of augmentations.
        sampling: How songs and places are drawn.
        sources: Names of the stems.
        sample_rate: In Hz, of everything that comes out.
        channels: Of everything that comes out.
        segment: Length of a chunk in seconds.
        context: Samples on each side of a chunk that a model reads and does not estimate.
        batch_size: For each rank.
        examples_per_epoch: Over all ranks; None takes the total length of the songs over `segment`.
        num_workers: Processes that read; 0 reads in this one. The batches are the same.
        prefetch: Batches that are read ahead.
        seed: Of all draws.
        valid_seconds: Validate on so much of each song's middle; None on all of it.
        test_seconds: The same for tests.

    Raises:
        UserError: The data don't fit what was asked for.
    """

    def __init__(
        self,
        *,
        corpus: Any,
        store: Any,
        augmentation: Any,
        sampling: Sampling,
        sources: Sequence[str],
        sample_rate: int,
        channels: int,
        segment: float,
        context: int,
        batch_size: int,
        examples_per_epoch: int | None,
        num_workers: int,
        prefetch: int,
        seed: int,
        valid_seconds: float | None,
        test_seconds: float | None,
    ) -> None:
        super().__init__()
        self.corpus, self.store = corpus, store
        self.augmentation, self.sampling = augmentation, sampling
        self.sources, self.sample_rate, self.channels = tuple(sources), sample_rate, channels
        self.segment, self.context, self.batch_size = segment, context, batch_size
        self.samples = round(segment * sample_rate)  # of a chunk, its context apart
        self.examples_per_epoch = examples_per_epoch
        self.num_workers, self.prefetch, self.seed = num_workers, prefetch, seed
        self.seconds = {"train": None, "valid": valid_seconds, "test": test_seconds}
        self._opened: Corpus | None = None
        self._loader: Loader | None = None
        self.arrived = 0.0  # when the last batch left the loader, by time.perf_counter

    def prepare_data(self) -> None:
        """Get the corpus ready; Lightning calls it in one process only."""
        self.corpus.prepare()
        if self.store is not None:
            self.store.prepare(self.corpus.open())

    def setup(self, stage: str | None = None) -> None:
        """Open the corpus, in every process."""
        if self._opened is None:
            opened = self.corpus.open()
            self._opened = opened if self.store is None else self.store.open(opened)
            if opened.note:
                rank_zero_info(opened.note)

    def tracks(self, split: str) -> list[Track]:
        """The songs of "train", "valid" or "test"."""
        if split not in SPLITS:
            raise UserError(f"there is no split {split}: expected one of {', '.join(SPLITS)}")
        self.setup()
        assert self._opened is not None
        return getattr(self._opened, split)

    def track_names(self, songs: Tensor) -> list[Any]:
        """The names behind a batch's song numbers, nested as they are; for messages."""
        names = [track.name for track in self.tracks("train")]

        def named(value: Any) -> Any:
            return [named(v) for v in value] if isinstance(value, list) else names[value]

        return named(songs.tolist())

    def fingerprint(self) -> dict[str, str]:
        """A hash over the songs of each split, equal wherever their audio is equal."""
        hashes = {}
        for split in SPLITS:
            prints = sorted(track.fingerprint for track in self.tracks(split))
            hashes[split] = hashlib.sha256("\n".join(prints).encode()).hexdigest()[:32]
        return hashes

    def chunks(self, finished: bool = False) -> Chunks:
        """The training examples as a map-style data set; `finished` as floats, all done."""
        return Chunks(
            self.tracks("train"),
            sources=self.sources,
            sample_rate=self.sample_rate,
            channels=self.channels,
            samples=self.samples,
            context=self.context,
            seed=self.seed,
            augmentation=self.augmentation,
            sampling=self.sampling,
            examples=self.examples_per_epoch or 0,
            finished=finished,
        )

    @property
    def finishes(self) -> bool:
        """Whether examples can be finished where they are read, for training on a processor."""
        return self.augmentation.foldable and not self.augmentation.on_device

    def train_dataloader(self) -> Loader:
        self._close()
        device = self.trainer.strategy.root_device.type if self.trainer else "cpu"
        finished = device == "cpu" and self.finishes
        self._loader = Loader(
            self.chunks(finished),
            batch_size=self.batch_size,
            rank=self.trainer.global_rank if self.trainer else 0,
            world=self.trainer.world_size if self.trainer else 1,
            workers=self.num_workers,
            prefetch=self.prefetch,
            position=self._position,
            pinned=device == "cuda",
        )
        return self._loader

    def teardown(self, stage: str | None = None) -> None:
        """End the workers, also after an error or an interrupt."""
        self._close()

    @property
    def waited(self) -> float:
        """Seconds that the training has waited for batches, since its loader was made."""
        return self._loader.waited if self._loader is not None else 0.0

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Nothing but a look at the clock: copying begins."""
        self.arrived = time.perf_counter()
        return batch

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Copy without blocking, and let the loader know when its memory may be filled again."""
        moved = super().transfer_batch_to_device(batch, device, dataloader_idx)
        if not isinstance(batch, Batch):
            return moved
        if device.type == "cuda" and self._loader is not None:
            self._loader.copied(batch)
        # the processor plans with these: reading them from the device would wait for its work
        here = {name: batch.numbers[name] for name in LEFT if name in batch.numbers}
        return moved._replace(numbers=moved.numbers | here)

    def val_dataloader(self) -> Wholes:
        tracks = self.tracks("valid")
        if not tracks:
            raise UserError(
                "the validation split has no songs: expected at least one, look at data.corpus"
            )
        rank = self.trainer.global_rank if self.trainer else 0
        world = self.trainer.world_size if self.trainer else 1
        return Wholes(self, share(tracks, rank, world))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Floats, tempo and pitch if left to it, pointwise augmentation, on the device.

        Whole songs pass untouched.

        On a processor that has been done where the chunks were read: then no scale is left.
        """
        if not isinstance(batch, Batch) or "scale" not in batch.numbers:
            return batch
        scale = batch.numbers["scale"]
        stems = floats(batch.stems, scale)
        stems = stretched(stems, batch.numbers, self.samples + 2 * self.context)
        stems = self.augmentation.apply(stems, batch.numbers)
        numbers = {name: values for name, values in batch.numbers.items() if name not in LEFT}
        # half precision has converted numbers
        return batch._replace(stems=stems.to(scale.dtype), numbers=numbers)

    def whole(self, track: Track, seconds: float | None = None, *, windows: bool = False) -> Whole:
        """Read one song, or the middle of it, at the stream's rate and channel count.

        Args:
            track: The song.
            seconds: How much of its middle; None for all.
            windows: Leave the mixture where it is, to be read where it is sliced. The stems are
                read: scores compare whole songs. A song at another rate is read all the same,
                because resampling by windows would not give the same bits.
        """
        frames = track.frames
        if seconds is not None:
            frames = min(frames, max(1, round(seconds * track.rate)))
        start = (track.frames - frames) // 2
        mixture: Tensor | Windows
        if windows and track.rate == self.sample_rate:
            mixture = Windows(track, start=start, frames=frames, channels=self.channels)
        else:
            mixture = torch.from_numpy(self._adapted(track, track.read_mixture(start, frames)))
        stems = np.zeros((len(self.sources), *mixture.shape), np.float32)
        present = np.zeros(len(self.sources), np.bool_)
        for source, name in enumerate(self.sources):
            if name in track.sources:
                stems[source] = self._adapted(track, track.read(name, start, frames))
                present[source] = True
        return Whole(
            track.name,
            mixture,
            torch.from_numpy(stems),
            torch.from_numpy(present),
        )

    def _adapted(self, track: Track, array: np.ndarray) -> np.ndarray:
        array = adapt(audio.as_float(array), self.channels)
        if track.rate != self.sample_rate:
            array = resample.convert(array, track.rate, self.sample_rate)
        return np.ascontiguousarray(array)

    def _close(self) -> None:
        if self._loader is not None:
            self._loader.close()
            self._loader = None

    def _position(self) -> tuple[int, int]:
        """Epoch and batches done of it: the trainer counts what was trained, not what was read."""
        if self.trainer is None:
            return 0, 0
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        return self.trainer.current_epoch, progress.current.ready


class Wholes:
    """The validation songs of one rank, one in memory at a time: read when its turn comes."""

    def __init__(self, stream: Stream, tracks: Sequence[Track]) -> None:
        self.stream, self.mine = stream, tracks

    def __len__(self) -> int:
        return max(1, len(self.mine))

    def __iter__(self) -> Iterator[Whole]:
        if not self.mine:
            yield nothing(len(self.stream.sources), self.stream.channels)
        for track in self.mine:
            yield self.stream.whole(track, self.stream.seconds["valid"], windows=True)


def share(tracks: Sequence[Track], rank: int, world: int) -> list[Track]:
    """The songs of one rank: longest first to whoever has least, none twice."""
    loads = [0.0] * world
    mine = []
    for track in sorted(tracks, key=lambda t: (-t.frames / t.rate, t.name)):
        lightest = loads.index(min(loads))
        loads[lightest] += track.frames / track.rate
        if lightest == rank:
            mine.append(track)
    return mine
