"""The data module under a real trainer: resume, validation, floats on the device."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from fake_songs import SOURCES, FakeCorpus, FakeSong, songs
from lightning.pytorch.callbacks import ModelCheckpoint

from sepexp.augmentation.chain import Augmentations
from sepexp.augmentation.gain import Gain
from sepexp.augmentation.mixup import Mixup
from sepexp.augmentation.polarity import Polarity
from sepexp.augmentation.remix import Remix
from sepexp.augmentation.swap import Swap
from sepexp.augmentation.tempo import Tempo
from sepexp.data.batch import Batch
from sepexp.data.loader import Loader
from sepexp.data.module import Stream, share
from sepexp.data.sampling import Sampling
from sepexp.data.track import Corpus
from sepexp.errors import UserError

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def stream(**changes: Any) -> Stream:
    settings: dict[str, Any] = {
        "corpus": FakeCorpus(songs(4), songs(3, frames=3001), songs(2)),
        "store": None,
        "augmentation": Augmentations(
            remix=Remix(p=0.5),
            gain=Gain(low=0.25, high=1.25),
            swap=Swap(p=0.5),
            polarity=Polarity(p=0.5),
        ),
        "sampling": Sampling(balanced=False, active=0, floor=-60),
        "sources": list(SOURCES),
        "sample_rate": 1000,
        "channels": 2,
        "segment": 0.1,
        "context": 5,
        "batch_size": 2,
        "examples_per_epoch": 14,
        "num_workers": 0,
        "prefetch": 2,
        "seed": 1,
        "valid_seconds": None,
        "test_seconds": None,
    }
    return Stream(**(settings | changes))


class Witness(lightning.LightningModule):
    """Writes down what arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained: list[tuple] = []
        self.heard: list[tuple] = []

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:
        bits = batch.stems.numpy().tobytes()
        self.trained.append((self.current_epoch, number, batch.index.tolist(), hash(bits)))
        return (self.weight * batch.stems.mean()).sum()

    def validation_step(self, song: Any, number: int) -> None:
        self.heard.append((song.name, tuple(song.mixture.shape), song.mixture.dtype))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(**changes: Any) -> lightning.Trainer:
    settings: dict[str, Any] = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "enable_checkpointing": False,
    }
    return lightning.Trainer(**(settings | changes))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("accumulated, workers", [(1, 0), (3, 0), (1, 1)])
def test_a_resumed_run_sees_the_examples_that_it_would_have_seen(
    tmp_path: Path, accumulated: int, workers: int
) -> None:
    keep = ModelCheckpoint(
        tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1, save_last=False
    )
    whole = Witness()
    data = stream(num_workers=workers)
    once = {"accumulate_grad_batches": accumulated}
    trainer(callbacks=[keep], enable_checkpointing=True, **once).fit(whole, data)
    assert [seen[:2] for seen in whole.trained] == [(e, n) for e in range(2) for n in range(7)]
    assert len({seen[3] for seen in whole.trained}) == 14  # each epoch draws anew
    assert whole.trained[3][2] == [6, 7]
    saved = sorted(tmp_path.glob("*.ckpt"))
    assert len(saved) == 14 // accumulated + (2 if accumulated == 3 else 0)
    for path in saved[:: 4 if workers else 1]:
        rest = Witness()
        again = stream(num_workers=workers)
        trainer(**once).fit(rest, again, ckpt_path=path, weights_only=True)
        assert rest.trained == whole.trained[len(whole.trained) - len(rest.trained) :]
        assert len(whole.trained) - len(rest.trained) >= 1
        assert rest.weight.item() == whole.weight.item()
        assert again._loader is None  # torn down, workers and all


@pytest.mark.filterwarnings("ignore")
def test_validation_gets_whole_songs() -> None:
    witness = Witness()
    trainer(max_epochs=1).fit(witness, stream(valid_seconds=2))
    expected = [(f"song {number}", (2, 2000), torch.float32) for number in range(3)]
    assert sorted(witness.heard) == expected


def raw_batch(data: Stream) -> Batch:
    """What a loader for a GPU yields."""
    made = Loader(
        data.chunks(),
        batch_size=2,
        rank=0,
        world=1,
        workers=0,
        prefetch=1,
        position=lambda: (0, 0),
    )
    return next(iter(made))


def test_a_batch_becomes_augmented_floats() -> None:
    data = stream(context=0)
    made = data.chunks()
    batch = raw_batch(data)
    assert batch.stems.dtype == torch.int16
    out = data.on_after_batch_transfer(batch, 0)
    for row, index in enumerate(batch.index.tolist()):
        numbers = made.draw(index, 0).numbers
        raw = made.read(made.draw(index, 0)).stems.astype(np.float64) / 32768
        for source in range(4):
            stem = raw[source][::-1] if numbers["swap"][source] else raw[source]
            expected = stem * numbers["gain"][source] * numbers["polarity"][source]
            assert np.abs(out.stems[row, source].numpy() - expected).max() < 1e-7
    assert out.stems.dtype == torch.float32
    assert out.songs is batch.songs and torch.equal(out.present, batch.present)


@pytest.mark.filterwarnings("ignore")
def test_a_processors_batches_come_finished_with_the_devices_bits() -> None:
    chain = Augmentations(
        remix=Remix(p=0.5),
        mixup=Mixup(p=0.5, low=0.5, high=1),
        tempo=Tempo(p=0.5, deviation=0.05, limit=0.12),
        gain=Gain(low=0.3, high=1),
        swap=Swap(p=0.5),
        polarity=Polarity(p=0.5),
    )
    missing = FakeSong(name="duo", number=9, sources=("drums", "bass"))
    data = stream(augmentation=chain, corpus=FakeCorpus([*songs(2), missing], songs(1), []))
    for finished, batch in zip(data.train_dataloader(), [raw_batch(data)], strict=False):
        device = data.on_after_batch_transfer(batch, 0)
        assert finished.stems.dtype == torch.float32
        assert torch.equal(data.on_after_batch_transfer(finished, 0).stems, device.stems)
        assert torch.equal(finished.numbers["gain"], device.numbers["gain"])


def test_a_foreign_augmentation_is_applied_after_the_transfer() -> None:
    class Square:
        kind = "pointwise"
        draws = ("square",)

        def draw(self, generator: np.random.Generator, names: Any) -> dict[str, np.ndarray]:
            return {"square": np.ones(len(names), np.float32)}

        def apply(self, stems: Any, numbers: Any) -> Any:
            return stems**2

    data = stream(augmentation=Augmentations(further={"square": Square()}))
    batch = next(iter(data.train_dataloader()))
    assert batch.stems.dtype == torch.int16
    out = data.on_after_batch_transfer(batch, 0).stems
    assert torch.equal(out, (batch.stems.float() / 32768) ** 2)


def test_half_precision_gets_stems_of_its_kind() -> None:
    data = stream()
    batch = raw_batch(data)
    full = data.on_after_batch_transfer(batch, 0).stems
    halves = {name: values.to(torch.bfloat16) for name, values in batch.numbers.items()}
    out = data.on_after_batch_transfer(batch._replace(numbers=halves), 0).stems
    assert out.dtype == torch.bfloat16
    # the stems and the gain are each rounded to 8 bits
    assert (out.float() - full).abs().max() < 2 * 2**-8 * full.abs().max()


def test_a_whole_song_has_its_middle_its_stems_and_zeros_where_one_is_missing() -> None:
    song = FakeSong(name="trio", number=3, sources=("drums", "bass", "other"), frames=4001)
    data = stream(corpus=FakeCorpus(songs(1), [song], []))
    whole = data.whole(song, seconds=1.5)
    assert whole.name == "trio" and whole.mixture.shape == (2, 1500)
    assert whole.present.tolist() == [False, True, True, True]
    assert not whole.stems[0].any()
    drums = song.read("drums", 1250, 1500).astype(np.float32) / 32768
    assert np.array_equal(whole.stems[1].numpy(), drums)
    assert np.array_equal(whole.mixture.numpy(), song.read_mixture(1250, 1500))
    assert data.whole(song).mixture.shape == (2, 4001)
    assert data.whole(song, seconds=99).mixture.shape == (2, 4001)


def test_a_whole_song_is_brought_to_the_streams_rate_and_channels() -> None:
    song = FakeSong(name="mono", number=3, rate=2000, channels=1, frames=4000)
    whole = stream(corpus=FakeCorpus(songs(1), [song], [])).whole(song)
    assert whole.mixture.shape == (2, 2000) and whole.stems.shape == (4, 2, 2000)
    assert torch.equal(whole.mixture[0], whole.mixture[1])
    # resampling is linear: the mixture of the stems stays the mixture
    assert (whole.stems.sum(0) - whole.mixture).abs().max() < 1e-5


def test_ranks_share_songs_longest_first_and_none_twice() -> None:
    tracks = [FakeSong(name=f"{n} s", number=n, frames=n * 1000) for n in (3, 9, 5, 4, 1)]
    assert [t.name for t in share(tracks, 0, 1)] == ["9 s", "5 s", "4 s", "3 s", "1 s"]
    parts = [[t.name for t in share(tracks, rank, 2)] for rank in range(2)]
    # 9 | 5, 5 + 4 = 9: the tie goes to the first rank, 9 + 3 | 9 + 1
    assert parts == [["9 s", "3 s"], ["5 s", "4 s", "1 s"]]
    assert share(tracks, 5, 6) == []


class Rank:
    """As much of a trainer as the loaders ask for."""

    global_rank, world_size = 3, 4


def test_a_rank_without_a_song_gets_an_empty_marker() -> None:
    data = stream()
    data.trainer = Rank()  # type: ignore[assignment]
    loader = data.val_dataloader()
    assert len(loader) == 1
    (marker,) = loader
    assert marker.name == "" and marker.mixture.shape == (2, 0)
    assert marker.stems.shape == (4, 2, 0) and not marker.present.any()


def test_prints_follow_the_songs_and_not_their_order() -> None:
    one = stream().fingerprint()
    reordered = stream(corpus=FakeCorpus(songs(4)[::-1], songs(3, frames=3001), songs(2)))
    fewer = stream(corpus=FakeCorpus(songs(3), songs(3, frames=3001), songs(2)))
    assert reordered.fingerprint() == one
    assert fewer.fingerprint()["train"] != one["train"]
    assert fewer.fingerprint()["valid"] == one["valid"]


class FakeStore:
    """Keeps nothing, and says that it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def prepare(self, corpus: Corpus) -> None:
        self.asked.append("prepare")

    def open(self, corpus: Corpus) -> Corpus:
        self.asked.append("open")
        return corpus._replace(train=corpus.train[:1])


def test_the_store_stands_between_corpus_and_stream() -> None:
    store = FakeStore()
    data = stream(store=store)
    data.prepare_data()
    data.setup("fit")
    data.setup("fit")
    assert store.asked == ["prepare", "open"]
    assert len(data.tracks("train")) == 1


def test_songs_are_named_as_they_are_nested() -> None:
    names = stream().track_names(torch.tensor([[0, 1], [3, 0]]))
    assert names == [["song 0", "song 1"], ["song 3", "song 0"]]


@pytest.fixture(params=["train", "valid"])
def empty(request: pytest.FixtureRequest) -> Iterator[Stream]:
    parts = {"train": songs(1), "valid": songs(1), "test": []} | {request.param: []}
    yield stream(corpus=FakeCorpus(**parts))


def test_an_empty_split_is_a_users_mistake(empty: Stream) -> None:
    with pytest.raises(UserError, match="split has no songs"):
        empty.train_dataloader()
        empty.val_dataloader()


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match="no split tests"):
        stream().tracks("tests")
    with pytest.raises(UserError, match="chunk of 0 samples"):
        stream(segment=0.0001).train_dataloader()


def test_validation_reads_mixtures_by_windows_and_songs_when_their_turn_comes() -> None:
    asked: list[tuple[str, int]] = []

    class Watched(FakeSong):
        def read_mixture(self, start: int, frames: int) -> np.ndarray:
            asked.append((self.name, frames))
            return super().read_mixture(start, frames)

    tracks = [Watched(name=n, number=1, frames=f) for n, f in (("short", 2000), ("long", 5000))]
    odd = Watched(name="other rate", number=2, rate=2000, frames=6000)
    data = stream(corpus=FakeCorpus(songs(1), [*tracks, odd], []), valid_seconds=1.5)
    found = iter(data.val_dataloader())
    for name in ("long", "other rate", "short"):  # longest first
        del asked[:]
        whole = next(found)
        assert whole.name == name
        assert asked == ([("other rate", 3000)] if name == "other rate" else [])
        track = next(t for t in [*tracks, odd] if t.name == name)
        expected = data.whole(track, 1.5)
        assert torch.equal(whole.mixture[..., :], expected.mixture)
        assert torch.equal(whole.stems, expected.stems)
