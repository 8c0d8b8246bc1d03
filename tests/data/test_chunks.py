"""Examples are a pure function of (seed, epoch, index), and hold what their plan says."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from fake_songs import SOURCES, FakeSong, songs

from sepexp.augmentation.chain import Augmentations
from sepexp.augmentation.gain import Gain
from sepexp.augmentation.mixup import Mixup
from sepexp.augmentation.pitch import Pitch
from sepexp.augmentation.polarity import Polarity
from sepexp.augmentation.remix import Remix
from sepexp.augmentation.swap import Swap
from sepexp.augmentation.tempo import Tempo
from sepexp.data.chunks import Chunks, Example
from sepexp.data.sampling import Dice, Sampling
from sepexp.errors import UserError

ALL = {
    "remix": Remix(p=0.5),
    "mixup": Mixup(p=0.3, low=0.5, high=1.0),
    "tempo": Tempo(p=0.5, deviation=0.05, limit=0.12),
    "pitch": Pitch(p=0.5, semitones=2, untouched=["drums"], together=False),
    "gain": Gain(low=0.25, high=1.25),
    "swap": Swap(p=0.5),
    "polarity": Polarity(p=0.5),
}


def chunks(tracks: list[Any], **changes: Any) -> Chunks:
    settings: dict[str, Any] = {
        "sources": SOURCES,
        "sample_rate": 1000,
        "channels": 2,
        "samples": 100,
        "context": 0,
        "seed": 1,
        "augmentation": Augmentations(),
        "sampling": Sampling(balanced=False, active=0, floor=-60),
    }
    return Chunks(tracks, **(settings | changes))


def same(a: Example, b: Example) -> bool:
    return all(
        np.array_equal(x, y)
        for x, y in zip([*a[:4], *a.numbers.values()], [*b[:4], *b.numbers.values()], strict=True)
    )


def test_an_example_depends_on_seed_epoch_and_index_and_on_nothing_else() -> None:
    tracks = songs(5, frames=9000)
    one, two = (chunks(tracks, augmentation=Augmentations(**ALL)) for _ in range(2))
    for index in (7, 0, 123456789):
        assert same(one.read(one.draw(index, 3)), two.read(two.draw(index, 3)))
    first = one.draw(7, 3)
    other_seed = chunks(tracks, seed=2, augmentation=Augmentations(**ALL)).draw(7, 3)
    for other in (one.draw(8, 3), one.draw(7, 4), other_seed):
        assert other.reads != first.reads
        assert not np.array_equal(other.numbers["gain"], first.numbers["gain"])


def test_neighbouring_examples_share_no_random_numbers() -> None:
    dice = Dice(1)
    drawn = [
        set(dice.at(epoch, index)("purpose").random(1000))
        for epoch in (0, 1)
        for index in (0, 1, 2)
    ]
    assert len(set.union(*drawn)) == sum(map(len, drawn)) == 6000


@pytest.mark.parametrize("added", ALL)
def test_adding_an_augmentation_moves_no_other_draw(added: str) -> None:
    tracks = songs(5, frames=90000)
    rest = {name: member for name, member in ALL.items() if name != added}
    with_it = chunks(tracks, augmentation=Augmentations(**ALL))
    without = chunks(tracks, augmentation=Augmentations(**rest))
    names = {name for member in rest.values() for name in member.draws}
    for index in range(20):
        a, b = with_it.draw(index, 0), without.draw(index, 0)
        # alignment makes one tempo of several, by the remix draw: compare where both agree on it
        if added != "remix" or a.numbers["remix"].any() == 0:
            assert all(np.array_equal(a.numbers[n], b.numbers[n]) for n in names)
            assert [read.song for read in a.reads] == [read.song for read in b.reads]


def test_a_chunk_is_what_the_song_has_there() -> None:
    tracks = songs(3)
    made = chunks(tracks, context=10, augmentation=Augmentations(remix=Remix(p=1)))
    for index in range(10):
        plan = made.draw(index, 0)
        example = made.read(plan)
        assert example.stems.shape == (4, 2, 120) and example.stems.dtype == np.int16
        assert example.numbers["scale"].tolist() == [2.0**-15] * 4
        for source, read in enumerate(plan.reads):
            assert 0 <= read.start <= 4000 - 120 and read.frames == 120
            expected = tracks[read.song].read(SOURCES[source], read.start, 120)
            assert np.array_equal(example.stems[source], expected)
            assert example.songs[source] == read.song


def test_places_reach_both_ends_of_a_song_evenly() -> None:
    made = chunks(songs(1, frames=104))
    starts = Counter(made.draw(index, 0).reads[0].start for index in range(2000))
    assert sorted(starts) == [0, 1, 2, 3, 4]
    assert min(starts.values()) > 330  # 400 expected, sd 18


def test_seconds_of_music_are_equally_likely_unless_songs_are_balanced() -> None:
    tracks = [*songs(1, frames=9000), *songs(1, frames=1000)]

    def long_ones(balanced: bool) -> int:
        sampling = Sampling(balanced=balanced, active=0, floor=-60)
        made = chunks(tracks, sampling=sampling)
        return sum(made.draw(index, 0).reads[0].song == 0 for index in range(1000))

    assert 860 < long_ones(False) < 940  # 900 expected, sd 9.5
    assert 440 < long_ones(True) < 560  # 500 expected, sd 16


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_remix_takes_its_share(p: float) -> None:
    made = chunks(songs(50), augmentation=Augmentations(remix=Remix(p=p)))
    plans = [made.draw(index, 0) for index in range(1000)]
    together = sum(len({(r.song, r.start) for r in plan.reads}) == 1 for plan in plans)
    assert abs(together - 1000 * (1 - p)) <= (0 if p in (0, 1) else 58)  # 4 standard deviations


def test_missing_stems_are_zero_and_marked_and_never_drawn_when_remixed() -> None:
    tracks = [*songs(2), FakeSong(name="no vocals", number=9, sources=("drums", "bass", "other"))]
    aligned = chunks(tracks)
    seen = set()
    for index in range(40):
        example = aligned.read(aligned.draw(index, 0))
        lacking = example.songs[0] == 2
        assert example.present.tolist() == [not lacking, True, True, True]
        assert (example.stems[0] == 0).all() == lacking
        seen.add(bool(lacking))
    assert seen == {True, False}
    remixed = chunks(tracks, augmentation=Augmentations(remix=Remix(p=1)))
    examples = [remixed.read(remixed.draw(index, 0)) for index in range(40)]
    assert all(example.present.all() for example in examples)
    assert {int(example.songs[0]) for example in examples} == {0, 1}
    assert {int(example.songs[1]) for example in examples} == {0, 1, 2}


def test_a_source_that_no_song_has_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match="no training song has the source flute.*bass, drums"):
        chunks(songs(2), sources=("vocals", "flute"))
    with pytest.raises(UserError, match="no songs"):
        chunks([])


def test_short_songs_are_padded_behind_and_their_context_first() -> None:
    tracks = songs(1, frames=60)
    with pytest.warns(UserWarning, match="1 of 1 training songs are shorter"):
        made = chunks(tracks)
    example = made.read(made.draw(0, 0))
    assert np.array_equal(example.stems[1][:, :60], tracks[0].read("drums", 0, 60))
    assert not example.stems[:, :, 60:].any()
    # 90 samples for 100 + 2 * 10: the song begins where the context ends
    with pytest.warns(UserWarning):
        made = chunks(songs(1, frames=90), context=10)
    example = made.read(made.draw(0, 0))
    assert not example.stems[:, :, :10].any() and not example.stems[:, :, 100:].any()
    expected = songs(1, frames=90)[0].read("drums", 0, 90)
    assert np.array_equal(example.stems[1][:, 10:100], expected)


@pytest.mark.parametrize("samples, context", [(20000, 0), (15000, 2000)])
def test_tempo_and_pitch_leave_full_length_chunks(samples: int, context: int) -> None:
    stretched = Augmentations(
        tempo=Tempo(p=1, deviation=0.05, limit=0.12),
        pitch=Pitch(p=1, semitones=2, untouched=["drums"], together=False),
    )
    tracks = songs(2, frames=60000, rate=44100)
    made = chunks(
        tracks, sample_rate=44100, samples=samples, context=context, augmentation=stretched
    )
    for index in range(5):
        plan = made.draw(index, 0)
        assert len({read.start for read in plan.reads}) == 1  # still aligned
        assert len(set(plan.tempo)) == 1 and plan.semitones[1] == 0
        for read in plan.reads:
            assert read.start + read.frames <= 60000 and read.frames != made.length
        stems = made.read(plan).stems
        assert stems.shape == (4, 2, samples + 2 * context)
        # noise up to the last samples: nothing was padded
        assert (np.abs(stems[..., -50:]).max(axis=-1) > 1000).all()
    # also where a place lies at the very end of a song
    plans = [made.draw(index, 0) for index in range(300)]
    ends = [read.start + read.frames for plan in plans for read in plan.reads]
    assert 59000 < max(ends) <= 60000


def test_drums_change_their_tempo_only() -> None:
    pitch = Pitch(p=1, semitones=2, untouched=["drums"], together=True)
    made = chunks(songs(2, frames=60000), augmentation=Augmentations(pitch=pitch))
    steps = np.array([made.draw(index, 0).semitones for index in range(200)])
    assert not steps[:, 1].any()
    assert set(steps[:, 0]) == {-2, -1, 0, 1, 2}
    assert (steps[:, [0, 2, 3]] == steps[:, :1]).all()  # one key


class Loud(FakeSong):
    """Full-scale squares."""

    def read(self, source: str, start: int, frames: int) -> np.ndarray:
        sign = np.where(np.arange(start, start + frames) // 5 % 2, 32767, -32767)
        return np.stack([sign, sign // 2]).astype(np.int16)


def test_what_exceeds_full_scale_is_shipped_with_headroom() -> None:
    doubled = Augmentations(mixup=Mixup(p=1, low=1, high=1))
    made = chunks([Loud(name="loud", number=0)], augmentation=doubled, samples=400)
    scales = set()
    for index in range(20):
        plan = made.draw(index, 0)
        example = made.read(plan)
        assert example.stems.dtype == np.int16
        for source in range(4):
            reads = plan.reads[source], plan.seconds[source]
            parts = [made.tracks[0].read("bass", r.start, 400) / 32768.0 for r in reads if r]
            restored = example.stems[source] * example.numbers["scale"][source]
            # half a step of the coarser grid that the headroom costs
            assert np.abs(restored - sum(parts)).max() <= example.numbers["scale"][source] / 2
            scales.add(float(np.log2(example.numbers["scale"][source])))
    assert max(scales) == -14 and all(scale == round(scale) for scale in scales)


def test_silence_stays_silence_through_processing() -> None:
    class Silent(FakeSong):
        def read(self, source: str, start: int, frames: int) -> np.ndarray:
            return np.zeros((2, frames), np.int16)

    tempo = Augmentations(tempo=Tempo(p=1, deviation=0.05, limit=0.12))
    made = chunks([Silent(name="silent", number=0, frames=60000)], augmentation=tempo)
    example = made.read(made.draw(0, 0))
    assert not example.stems.any() and (example.numbers["scale"] == 2.0**-15).all()


class Sine(FakeSong):
    """A tone of 100 Hz at -6 dB, at any rate."""

    def read(self, source: str, start: int, frames: int) -> np.ndarray:
        tone = 0.5 * np.sin(2 * np.pi * 100 * np.arange(start, start + frames) / self.rate)
        return np.broadcast_to(tone.astype(np.float32), (self.channels, frames))


def test_another_rate_and_channel_count_are_adapted_where_they_are_read() -> None:
    tracks = [Sine(name="sine", number=0, rate=3000, frames=9000, channels=1, dtype=np.float32)]
    made = chunks(tracks)
    assert made.songs.frames == [3000] and len(made) == 30
    for index in range(5):
        plan = made.draw(index, 0)
        stems = made.read(plan).stems
        assert stems.dtype == np.float32 and stems.shape == (4, 2, 100)
        time = (plan.reads[0].start + np.arange(100)) / 1000
        # the resampler's own ripple; at a song's first samples its filter reads padding
        if 50 < plan.reads[0].start < 2850:
            assert np.abs(stems - 0.5 * np.sin(2 * np.pi * 100 * time)).max() < 2e-3


def test_stereo_songs_are_averaged_for_a_mono_stream() -> None:
    tracks = songs(1)
    made = chunks(tracks, channels=1)
    plan = made.draw(0, 0)
    example = made.read(plan)
    expected = tracks[0].read("vocals", plan.reads[0].start, 100).astype(float).mean(axis=0)
    restored = example.stems[0, 0] * (example.numbers["scale"][0] * 32768.0)
    assert np.abs(restored - expected).max() <= 0.5


def test_float_and_int_songs_share_a_float_stream() -> None:
    tracks = [*songs(2), dataclasses.replace(songs(1)[0], dtype=np.float32, name="float")]
    made = chunks(tracks, augmentation=Augmentations(remix=Remix(p=1)))
    assert made.dtype == np.float32
    for index in range(10):
        example = made.read(made.draw(index, 0))
        assert np.abs(example.stems).max() < 1 and (example.numbers["scale"] == 1).all()


def test_active_sampling_finds_the_block_in_which_a_source_sounds() -> None:
    levels = {source: [0.0] * 8 for source in SOURCES}
    levels["vocals"] = [0, 0, 0, 0, 0, 0.5, 0, 0]
    levels["drums"] = [0.5] * 8
    tracks = [FakeSong(name="rests", number=0, levels_of=levels)]
    sampling = Sampling(balanced=False, active=1, floor=-40)
    remixed = Augmentations(remix=Remix(p=1))
    made = chunks(tracks, sampling=sampling, augmentation=remixed)
    starts = [made.draw(index, 0).reads[0].start for index in range(200)]
    # the middle of block 5 is sample 2750 at 1000 Hz, anywhere in the 100 samples of the chunk
    assert min(starts) < 2660 and max(starts) > 2740
    assert all(2650 <= start <= 2750 for start in starts)
    others = {made.draw(index, 0).reads[2].start // 500 for index in range(200)}
    assert len(others) > 5  # bass never sounds: drawn as if nothing had been asked


def test_active_sampling_needs_level_tables() -> None:
    with pytest.raises(UserError, match="song 0 has no level table.*data.store"):
        chunks(songs(2), sampling=Sampling(balanced=False, active=0.5, floor=-60))


def test_an_unreadable_song_is_named_with_source_and_place() -> None:
    made = chunks(songs(1, fault="damaged"))
    plan = made.draw(0, 0)
    first = plan.reads[0].start
    with pytest.raises(UserError, match=f"vocals of song 0 from sample {first} .*ends early"):
        made.read(plan)


def test_torch_data_loader_gives_the_same_examples() -> None:
    from torch.utils.data import DataLoader

    made = chunks(songs(3), examples=8, augmentation=Augmentations(**ALL))
    made.epoch = 2
    batches = list(DataLoader(made, batch_size=4))
    assert len(batches) == 2
    for number, batch in enumerate(batches):
        for row in range(4):
            example = made.read(made.draw(number * 4 + row, 2))
            assert np.array_equal(batch.stems[row].numpy(), example.stems)
            assert batch.numbers["gain"][row].tolist() == example.numbers["gain"].tolist()
    with pytest.raises(IndexError):
        made[8]


def test_workers_import_no_torch() -> None:
    code = (
        "import sys, sepexp.data.ring_worker, sepexp.augmentation.chain, sepexp.augmentation.gain,"
        "sepexp.augmentation.pitch, sepexp.data.store, sepexp.dsp.stretch_backends;"
        "print([m for m in ('torch', 'lightning', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
