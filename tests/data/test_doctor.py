"""The stages of a stream by themselves, and the advice that follows from them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from fake_songs import SOURCES, FakeCorpus, FakeSong, songs

from sepexp.augmentation.chain import Augmentations
from sepexp.augmentation.gain import Gain
from sepexp.augmentation.tempo import Tempo
from sepexp.data.doctor import Findings, advice, examine
from sepexp.data.module import Stream
from sepexp.data.sampling import Sampling

FOUND = Findings(
    draw=0.0001, first=0.001, read=0.001, stretch=0.0, finish=0.0002, copy=0.0, together=0.0013,
    on_device=False, batch_size=16, workers=0, cores=4, numbers=2_000_000, other_rate=0,
)  # fmt: skip


class SlowSong(FakeSong):
    """A read takes 2 ms."""

    def read(self, source: str, start: int, frames: int) -> np.ndarray:
        time.sleep(0.002)
        return super().read(source, start, frames)


class SlowGain(Gain):
    """Has no `fold`, so that it must wait for the transfer, and takes 10 ms a batch."""

    fold = property()  # type: ignore[assignment]

    def apply(self, stems: Any, numbers: Any) -> Any:
        time.sleep(0.01)
        return super().apply(stems, numbers)


def stream(augmentation: Augmentations, tracks: list, workers: int = 0) -> Stream:
    return Stream(
        corpus=FakeCorpus(tracks, songs(1), []), store=None, augmentation=augmentation,
        sampling=Sampling(balanced=True, active=0, floor=-60), sources=list(SOURCES),
        sample_rate=1000, channels=2, segment=0.5, context=0, batch_size=2, examples_per_epoch=20,
        num_workers=workers, prefetch=2, seed=1, valid_seconds=None, test_seconds=None,
    )  # fmt: skip


def test_a_slow_file_and_a_slow_augmentation_stand_in_their_rows() -> None:
    tracks = [SlowSong(name=f"song {n}", number=n) for n in range(2)]
    data = stream(Augmentations(further={"gain": SlowGain(low=0.5, high=1)}), tracks)
    found = examine(data, device=torch.device("cpu"), seconds=0.1)
    assert found.on_device and found.stretch == 0 and found.copy == 0
    assert 0.008 < found.read < 0.05  # 4 stems
    assert 0.005 < found.finish < 0.02  # 2 examples share 10 ms
    assert found.together > 0.008
    assert found.draw < 0.002


def test_pitch_and_tempo_are_what_is_left_without_reading() -> None:
    chain = Augmentations(tempo=Tempo(p=1, deviation=0.05, limit=0.1), gain=Gain(low=0.5, high=1))
    found = examine(stream(chain, songs(2)), device=torch.device("cpu"), seconds=0.4)
    assert found.stretch > 2 * found.read and not found.on_device
    assert advice(found).startswith("pitch and tempo binds")
    assert found.reading == pytest.approx(found.draw + found.read + found.stretch + found.finish)


def test_a_device_that_stretches_leaves_the_workers_reading() -> None:
    chain = Augmentations(tempo=Tempo(p=1, deviation=0.05, limit=0.1), stretch_on="device")
    found = examine(stream(chain, songs(2)), device=torch.device("cpu"), seconds=0.1)
    assert found.on_device and found.finish > found.stretch


def test_workers_are_measured_and_ended() -> None:
    found = examine(
        stream(Augmentations(), songs(2), workers=1), device=torch.device("cpu"), seconds=0.05
    )
    assert found.workers == 1 and 0 < found.together < 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "reading binds (77% of the work): set data.num_workers=3 (now 0)"),
        ({"stretch": 0.01}, "pitch and tempo binds (88% of the work): set data.num_workers=3"),
        ({"stretch": 0.01, "workers": 4}, "lower augmentation.tempo.p"),
        ({"workers": 4}, "data.num_workers=4 is what the 4 core(s) here bear"),
        ({"cores": 1, "workers": 1}, "data.num_workers=1 is what the 1 core(s) here bear"),
        ({"copy": 0.0001, "on_device": True}, "set data.num_workers=4 (now 0)"),
        ({"read": 0.02, "first": 0.02}, "set data.store=auto"),
        ({"other_rate": 48000}, "songs at 48000 Hz are resampled"),
        ({"first": 0.05}, "the disk binds"),
        ({"finish": 0.01, "on_device": True}, "augmentation on the device binds"),
        ({"copy": 0.01, "on_device": True}, "copying binds, more workers change nothing"),
        ({"draw": 0.01}, "drawing binds"),
    ],
)
def test_one_line_says_what_binds(change: dict[str, Any], words: str) -> None:
    said = advice(FOUND._replace(**change))
    assert words in said and "\n" not in said


def test_the_line_says_which_steps_never_wait() -> None:
    assert "a step on 16 examples that takes over 20.8 ms never waits" in advice(FOUND)
