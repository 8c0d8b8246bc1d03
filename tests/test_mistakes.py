"""A user's mistake ends in one clear sentence, exit code 2 and nothing half-written."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest import mock

import pytest
import soundfile
import torch
from tiny_runs import CONV_TASNET, OPEN_UNMIX, SONGS, sepexp


def refused(cache: Path, *arguments: str) -> str:
    said = sepexp(cache, *arguments, code=2).strip()
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith("sepexp: ")
    return last


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("sed=3", "did you mean seed?"),
        ("trainer.max_epoch=3", "did you mean trainer.max_epochs?"),
        ("model=conv_tasnett", "did you mean model=conv_tasnet?"),
        ("modle=demucs", "did you mean model?"),
        ("data.segmint=3", "did you mean data.segment?"),
        ("two words", "expected key=value"),
    ],
)
def test_a_misspelled_key_or_choice(argument: str, hint: str, tmp_path: Path) -> None:
    assert hint in refused(tmp_path, argument, f"hydra.run.dir={tmp_path}/run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("root", [[], ["data.corpus.root=/nowhere/at/all"]])
def test_no_songs_names_the_three_ways_on(root: list[str], tmp_path: Path) -> None:
    said = refused(tmp_path, *CONV_TASNET, *root, f"hydra.run.dir={tmp_path}/run")
    assert "data.corpus.root" in said and "musdb18_7s" in said and "data=demo" in said


def test_a_chunk_shorter_than_the_model_needs(song_cache: Path, tmp_path: Path) -> None:
    said = refused(
        song_cache, *SONGS, *OPEN_UNMIX, "loss=spectra_mse", "data.segment=0.01",
        f"hydra.run.dir={tmp_path}",
    )  # fmt: skip
    assert "data.segment" in said and "512 samples" in said


def test_a_loss_that_the_model_has_nothing_for(song_cache: Path, tmp_path: Path) -> None:
    said = refused(song_cache, *SONGS, *CONV_TASNET, "loss=spectra_l1", f"hydra.run.dir={tmp_path}")
    assert "loss=l1" in said


@pytest.mark.parametrize(
    ("targets", "word"),
    [("[guitar]", "guitar"), ("[]", "empty"), ("[vocals,vocals]", "twice"), ("[{a: [x]}]", "x")],
)
def test_targets_that_no_stem_makes(
    targets: str, word: str, song_cache: Path, tmp_path: Path
) -> None:
    said = refused(
        song_cache, *SONGS, *CONV_TASNET, f"targets={targets}", f"hydra.run.dir={tmp_path}"
    )
    assert word in said


def test_more_gpus_than_there_are(song_cache: Path, tmp_path: Path) -> None:
    arguments = [*SONGS, *CONV_TASNET, "trainer.devices=4", f"hydra.run.dir={tmp_path}"]
    with (
        mock.patch.object(torch.cuda, "is_available", lambda: True),
        mock.patch.object(torch.cuda, "device_count", lambda: 2),
    ):
        assert "2 GPU(s)" in refused(song_cache, *arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_where_there_is_none(song_cache: Path, tmp_path: Path) -> None:
    said = refused(
        song_cache, *SONGS, *CONV_TASNET, "trainer.accelerator=gpu", f"hydra.run.dir={tmp_path}"
    )
    assert "no GPU" in said


def test_a_loss_that_is_no_number_names_step_and_songs(song_cache: Path, tmp_path: Path) -> None:
    said = refused(
        song_cache, *SONGS, *CONV_TASNET, "optimizer.lr=1e30", f"hydra.run.dir={tmp_path}"
    )
    assert "step 1" in said and "Demo 0" in said


@pytest.fixture
def songs(song_cache: Path, tmp_path: Path) -> Path:
    """A folder of songs to spoil."""
    sepexp(song_cache, "data", "prepare", *SONGS)
    demo = next(song_cache.glob("demo-*/demo.json")).parent
    shutil.copytree(demo / "train", tmp_path / "songs")
    return tmp_path / "songs"


def folder(songs: Path) -> list[str]:
    return [
        *SONGS[6:], *CONV_TASNET, "data=folder", f"data.corpus.root={songs}", "data.store=none",
        f"hydra.run.dir={songs.parent}/run",
    ]  # fmt: skip


def test_a_truncated_wav(songs: Path, song_cache: Path) -> None:
    spoiled = next(songs.glob("*/drums.wav"))
    spoiled.write_bytes(spoiled.read_bytes()[:100_000])
    assert "drums" in refused(song_cache, *folder(songs))


def test_a_choice_on_test_songs_is_refused_or_stamped(song_cache: Path, songs: Path) -> None:
    """The same audio under another name, in validation and test."""
    root = songs.parent / "split"
    first, second = sorted({path.parent for path in songs.glob("*/drums.wav")})[:2]
    shutil.copytree(first, root / "train" / "learned")
    shutil.copytree(second, root / "valid" / "chosen")
    shutil.copytree(second, root / "test" / "scored")
    said = refused(song_cache, *folder(root))
    assert "chosen (= scored)" in said and "allow_test_selection=true" in said
    arguments = [*folder(root)[:-1], f"hydra.run.dir={songs.parent}/allowed"]
    said = sepexp(song_cache, *arguments, "trainer.max_epochs=1", "allow_test_selection=true")
    report = (songs.parent / "allowed" / "report.md").read_text()
    assert "CHOSEN ON TEST SONGS" in report and "CHOSEN ON TEST SONGS" in said


def test_stems_of_another_rate(songs: Path, song_cache: Path) -> None:
    spoiled = next(songs.glob("*/bass.wav"))
    audio, _ = soundfile.read(spoiled)
    soundfile.write(spoiled, audio, 22050)
    said = refused(song_cache, *folder(songs))
    assert "22050" in said and "44100" in said


def test_stems_of_another_length(songs: Path, song_cache: Path) -> None:
    spoiled = next(songs.glob("*/bass.wav"))
    audio, rate = soundfile.read(spoiled)
    soundfile.write(spoiled, audio[: len(audio) // 2], rate)
    assert "bass" in refused(song_cache, *folder(songs))


def test_a_score_that_nobody_has(song_cache: Path, tmp_path: Path) -> None:
    """Before the training, not after it."""
    said = refused(
        song_cache, *SONGS, *CONV_TASNET, "metric.scores=[SISDR]", f"hydra.run.dir={tmp_path}/run"
    )
    assert "metric.scores" in said and "SISDR" in said and "SI-SDR" in said


def test_a_run_that_is_none(tmp_path: Path) -> None:
    assert "run.json" in refused(tmp_path, "evaluate", str(tmp_path))


def test_resume_from_nothing(song_cache: Path, tmp_path: Path) -> None:
    said = refused(
        song_cache, *SONGS, *CONV_TASNET, f"resume={tmp_path}/x", f"hydra.run.dir={tmp_path}/run"
    )
    assert "last.ckpt" in said
