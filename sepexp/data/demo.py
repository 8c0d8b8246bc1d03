"""Songs that the project makes itself, in the layout of MUSDB18-HQ, for a first run without data.

Every song is a pure function of its seed. The songs have the structure of real ones, but scores on
them rank nothing: the same few instruments play in training and in test.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from sepexp.data.cores import cores
from sepexp.data.store import cache_folder
from sepexp.data.synth_bass import play_bass
from sepexp.data.synth_chords import play_chords
from sepexp.data.synth_drums import play_drums
from sepexp.data.synth_room import duck, make_way, master, reverberate, room, without_dc
from sepexp.data.synth_score import STEMS, draw_score
from sepexp.data.synth_tone import ramp
from sepexp.data.synth_voice import play_vocals
from sepexp.errors import UserError

VERSION = 3
RATE = 44100
SPLITS = ("train", "valid", "test")
SONGS_EACH = 100_000
FIRST_WORDS = (
    "Amber Azure Brass Cedar Copper Coral Crimson Dusty Early Ember Frozen Gentle Golden "
    "Hazel Hidden Indigo Ivory Late Lilac Lunar Misty Northern Olive Paper Quiet Russet "
    "Silver Slow Velvet Winter"
)
SECOND_WORDS = (
    "Anchor Arcade Bridge Canyon Carousel Compass Engine Feather Garden Harbour Island "
    "Kettle Lantern Ledger Magnet Meadow Mirror Orchard Parcel Pendulum Postcard Quarry "
    "Radio River Signal Staircase Teapot Tide Weather Window"
)

Stems = dict[str, npt.NDArray[np.int16]]


def render_song(seed: int, seconds: float, rate: int = RATE) -> Stems:
    """Renders the four stems of a song, 16-bit stereo, silent where a stem pauses.

    The mixture is the sum of these integers: it stays below 0.9 of full scale.
    Shape: each stem (channels, samples).
    """
    players = {
        "vocals": play_vocals,
        "drums": play_drums,
        "bass": play_bass,
        "other": play_chords,
    }
    # A generator for each player: a change to one instrument leaves the others' notes alone.
    plan, desk, *hands = [np.random.default_rng([seed, part]) for part in range(2 + len(STEMS))]
    score = draw_score(plan, seconds)
    response = room(desk, rate, seconds=float(desk.uniform(0.5, 0.9)), bright=7000.0)
    wet = {
        "vocals": float(desk.uniform(0.05, 0.16)),
        "drums": float(desk.uniform(0.04, 0.15)),
        "bass": float(desk.uniform(0.02, 0.05)),
        "other": float(desk.uniform(0.06, 0.2)),
    }
    levels = {
        "vocals": float(desk.uniform(0.0, 2.0)),
        "drums": float(desk.uniform(-2.0, 1.5)),
        "bass": float(desk.uniform(-2.0, 1.0)),
        "other": float(desk.uniform(-1.5, 1.0)),
    }
    peak = float(desk.uniform(0.6, 0.88))
    stems = {}
    for name, hand in zip(STEMS, hands, strict=True):
        stem = players[name](hand, score, rate)
        stem = reverberate(stem, response, wet[name]) if wet[name] else stem
        stem = without_dc(stem, rate)
        edge = min(int(0.05 * rate), stem.shape[1])
        stem[:, stem.shape[1] - edge :] *= ramp(edge)[::-1]
        stems[name] = stem
    # The kick drum makes the bass step back, as mixing desks often have it.
    stems["bass"] = duck(stems["bass"], stems["drums"], float(desk.uniform(0.6, 0.9)), rate)
    stems["other"] = make_way(stems["other"], float(desk.uniform(2.0, 7.0)), rate)
    return master(stems, levels, peak, rate)


def write_demo(
    root: Path,
    *,
    train: int,
    valid: int,
    test: int,
    seconds: float,
    test_seconds: float,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes the demo songs as MUSDB18-HQ folders under `root`, going on where it was stopped.

    Validation songs lie under `train`, named in `validation.txt`, as in MUSDB18. A song appears
    whole or not at all; `demo.json` appears last. `progress` is told (songs done, songs in all).
    """
    settings = _settings(train, valid, test, seconds, test_seconds, seed)
    _check(settings)
    root = Path(root)
    _claim(root, settings)
    counts = dict(zip(SPLITS, (train, valid, test), strict=True))
    songs = [(split, index) for split in SPLITS for index in range(counts[split])]
    names, missing = [], []
    for number, (split, index) in enumerate(songs):
        name = _title(number + 1, len(songs), _song_seed(seed, split, index))
        folder = root / ("test" if split == "test" else "train") / name
        length = test_seconds if split == "test" else seconds
        if split == "valid":
            names.append(name)
        if not folder.is_dir():
            missing.append((root, folder, _song_seed(seed, split, index), length))
    _write_songs(missing, len(songs), progress)
    _write_text(root / "validation.txt", "".join(f"{name}\n" for name in names))
    _write_text(root / "demo.json", json.dumps(settings, indent=2) + "\n")
    (root / "demo.part.json").unlink(missing_ok=True)


def demo_folder(
    *, train: int, valid: int, test: int, seconds: float, test_seconds: float, seed: int
) -> Path:
    """Where the demo songs of these settings are cached.

    $SEPEXP_CACHE, or else `sepexp` under $XDG_CACHE_HOME or ~/.cache.
    """
    settings = _settings(train, valid, test, seconds, test_seconds, seed)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    return cache_folder() / f"demo-{VERSION}-{digest}"


def _settings(
    train: int, valid: int, test: int, seconds: float, test_seconds: float, seed: int
) -> dict[str, float]:
    """What decides the bytes of a demo folder."""
    return {
        "version": VERSION,
        "seed": int(seed),
        "train": int(train),
        "valid": int(valid),
        "test": int(test),
        "seconds": float(seconds),
        "test_seconds": float(test_seconds),
    }


def _check(settings: dict[str, float]) -> None:
    for name in ("train", "valid", "test", "seed"):
        if settings[name] < 0 or (name != "seed" and settings[name] >= SONGS_EACH):
            raise UserError(
                f"Demo songs: {name}={settings[name]:g} came, a whole number from 0"
                f"{'' if name == 'seed' else f' to {SONGS_EACH - 1}'} was expected."
            )
    for name in ("seconds", "test_seconds"):
        if not settings[name] >= 1.0:
            raise UserError(f"Demo songs: {name}={settings[name]:g} came, at least 1 was expected.")


def _claim(root: Path, settings: dict[str, float]) -> None:
    """Marks the folder with its settings before the first song, so that two demos never mix."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The demo songs cannot be written to {root} ({error.strerror}); name a folder that "
            "can be written with the environment variable SEPEXP_CACHE."
        ) from error
    for mark in (root / "demo.json", root / "demo.part.json"):
        if mark.is_file():
            try:
                found = json.loads(mark.read_text())
            except ValueError:
                found = None
            if found != settings:
                raise UserError(
                    f"{root} holds demo songs with other settings than the wished {settings}; "
                    "delete that folder or name another one."
                )
            return
    _write_text(root / "demo.part.json", json.dumps(settings, indent=2) + "\n")


def _write_text(path: Path, text: str) -> None:
    """Writes a small file whole or not at all."""
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def _song_seed(seed: int, split: str, index: int) -> int:
    """A seed of its own for every song of every split of every demo: no two splits share one."""
    return (seed * len(SPLITS) + SPLITS.index(split)) * SONGS_EACH + index


def _title(number: int, songs: int, seed: int) -> str:
    """A name like 'Demo 03 - Amber Lantern'; the number runs over all splits, so names differ."""
    words = np.random.default_rng([seed, 99])
    first, second = words.choice(FIRST_WORDS.split()), words.choice(SECOND_WORDS.split())
    width = max(2, len(str(songs)))
    return f"Demo {number:0{width}d} - {first} {second}"


def _write_songs(
    missing: list[tuple[Path, Path, int, float]],
    songs: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Writes songs on all cores, or here where there are too few to pay for a process."""
    processes = min(len(missing) // 4, cores())
    done = songs - len(missing)

    def told() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, songs)

    if processes < 2:
        for song in missing:
            _write_song(*song)
            told()
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would copy the threads of torch's pools
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        for written in as_completed([pool.submit(_write_song, *song) for song in missing]):
            written.result()
            told()


def _write_song(root: Path, folder: Path, seed: int, seconds: float) -> None:
    """Writes a song aside and renames it, so that a folder with a song's name is a whole song."""
    _sweep(root)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=root))
    try:
        stems = render_song(seed, seconds)
        mixture = np.sum(list(stems.values()), axis=0, dtype=np.int32).astype(np.int16)
        for name, wave in {"mixture": mixture, **stems}.items():
            soundfile.write(aside / f"{name}.wav", wave.T, RATE, subtype="PCM_16")
        aside.chmod(0o755)
        folder.parent.mkdir(exist_ok=True)
        try:
            os.rename(aside, folder)
        except OSError:
            # Another process of the same run was faster with the same song.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Removes what a killed process left; a living one writes its song within the hour."""
    for left in root.glob(".writing-*"):
        if time.time() - left.stat().st_mtime > 3600.0:
            shutil.rmtree(left, ignore_errors=True)
