"""MUSDB18 in its two public forms, opened and described by the package musdb.

Rafii et al., "MUSDB18, a corpus for music separation" (doi:10.5281/zenodo.1117372) and MUSDB18-HQ
(doi:10.5281/zenodo.3338373): 100 songs to train on, of which musdb names 14 for validation, and 50
to test on.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from sepexp import audio
from sepexp.data import stems
from sepexp.data.folder import drawn, listing
from sepexp.data.store import cache_folder, locked
from sepexp.data.track import Corpus, Track, from_files
from sepexp.errors import UserError

WAYS_ON = (
    "set data.corpus.root or MUSDB18_PATH to the folder that holds train/ and test/, "
    "or take data=musdb18_7s (excerpts of 7 s, downloaded) or data=demo (synthesised songs)"
)


class MUSDB18:
    """The whole data set: HQ folders of wav, or `.stem.mp4` files.

    Args:
        root: The folder with `train` and `test` in it.
    """

    def __init__(self, *, root: str | None) -> None:
        self.root = root

    def prepare(self) -> None:
        """Nothing to do: the files are there, and the store decodes them."""

    def open(self) -> Corpus:
        """Describe every song by its files' headers.

        Raises:
            UserError: No data set at the root, an empty split, or files that don't fit.
        """
        if not self.root:
            raise UserError(f"nobody said where MUSDB18 lies: {WAYS_ON}")
        return describe(Path(self.root).expanduser(), WAYS_ON)


class MUSDB18_7s:
    """The public excerpts of 7 s of every song, as `.stem.mp4`, fetched by musdb.

    Args:
        root: Where they lie or shall lie; None takes the cache folder.
    """

    def __init__(self, *, root: str | None) -> None:
        self.root = Path(root).expanduser() if root else cache_folder() / "musdb18_7s"

    def prepare(self) -> None:
        """Download the excerpts once, aside, and move them into place.

        Raises:
            UserError: The download failed.
        """
        if (self.root / "train").is_dir():
            return
        aside = self.root.with_name(self.root.name + ".part")
        with locked(cache_folder() / "musdb18_7s.lock", "downloading MUSDB18-7s"):
            if (self.root / "train").is_dir():
                return
            shutil.rmtree(aside, ignore_errors=True)
            with _musdb() as musdb, redirect_stdout(sys.stderr):
                try:
                    musdb.DB(root=str(aside), download=True)
                except (OSError, zipfile.BadZipFile, RuntimeError) as error:
                    shutil.rmtree(aside, ignore_errors=True)
                    raise UserError(
                        f"the download of MUSDB18-7s failed ({error}): fetch {_sample_url(musdb)} "
                        f"by other means and unpack it into {self.root}, or take data=demo"
                    ) from None
            if self.root.is_dir() and not any(self.root.iterdir()):
                self.root.rmdir()
            os.replace(aside, self.root)

    def open(self) -> Corpus:
        """Describe every excerpt; arguments and errors of `MUSDB18.open`."""
        return describe(self.root, "start the run again to download it, or take data=demo")


def describe(root: Path, ways_on: str) -> Corpus:
    """Open MUSDB18 at a folder, in whichever form lies there.

    Raises:
        UserError: As `MUSDB18.open`.
    """
    for subset in ("train", "test"):
        if not (root / subset).is_dir():
            raise UserError(f"there is no MUSDB18 in {root}, {subset}/ is missing: {ways_on}")
        listing(root / subset)  # musdb takes what it may not list for empty
    train = root / "train"
    is_wav = any(train.glob("*/mixture.wav")) or not any(train.glob("*.stem.mp4"))
    with _musdb() as musdb:
        database = musdb.DB(root=str(root), is_wav=is_wav)
    found: dict[str, list[Track]] = {"train": [], "test": []}
    for song in database.tracks:
        if _is_song(song):
            found[song.subset].append(_track(song, database.sources_names))
    for subset, songs in found.items():
        if not songs:
            raise UserError(
                f"{root / subset} holds no song: expected folders with mixture.wav or files "
                f"*.stem.mp4; {ways_on}"
            )
    names = set(database.setup["validation_tracks"])
    valid = [song for song in found["train"] if song.name in names]
    note = f"{len(valid)} of musdb's {len(names)} validation songs"
    if not valid:
        valid = drawn(found["train"], train)
        note = "no validation song of musdb is here: drawn by hash: "
        note += ", ".join(song.name for song in valid)
    picked = {song.name for song in valid}
    rest = [song for song in found["train"] if song.name not in picked]
    if not rest:
        raise UserError(f"{train} holds validation songs only: expected others too")
    return Corpus(rest, valid, found["test"], "" if len(valid) == len(names) else note)


def _is_song(song: Any) -> bool:
    """Musdb takes every folder for a song, hidden, nested and empty ones too."""
    if song.name.startswith("."):
        return False
    return not song.is_wav or any(Path(song.path).parent.glob("*.wav"))


def _track(song: Any, sources: list[str]) -> Track:
    """One of ours from one of musdb's."""
    if not song.is_wav:
        numbers = {source: song.sources[source].stem_id for source in sources}
        return stems.from_stems(song.name, song.path, numbers, song.stem_id)
    missing = [source for source in sources if source not in song.sources]
    missing += [] if os.path.exists(song.path) else ["mixture"]
    if missing:
        raise UserError(
            f"{Path(song.path).parent} has no {missing[0]}.wav: expected the mixture and "
            f"{', '.join(sources)} in every song of MUSDB18-HQ; fetch it again"
        )
    files = {source: Path(song.sources[source].path) for source in sources}
    return from_files(song.name, files, Path(song.path))


class _Info:
    """What musdb asks of stempeg when it opens a data set, without one ffprobe a song."""

    def __init__(self, path: str) -> None:
        if path.endswith(".mp4"):
            self._streams = [(part.frames, part.rate) for part in stems.describe(path)]
        else:
            found = audio.info(path)
            self._streams = [(found.frames, found.rate)]

    def samples(self, stream: int) -> int:
        return self._streams[stream][0]

    def rate(self, stream: int) -> int:
        return self._streams[stream][1]

    def duration(self, stream: int) -> float:
        return self.samples(stream) / self.rate(stream)


@contextmanager
def _musdb() -> Iterator[ModuleType]:
    """The package musdb, reading headers through this package.

    musdb imports stempeg, which raises without the ffmpeg program, and describes every song by a
    process of ffprobe: where it isn't there an empty module stands in, and the headers are read
    here. Everything else (layout, names, subsets, stem numbers, validation songs) is musdb's.
    """
    try:
        musdb = importlib.import_module("musdb")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "musdb"]:
            del sys.modules[name]
        sys.modules["stempeg"] = ModuleType("stempeg")
        musdb = importlib.import_module("musdb")
    classes = importlib.import_module("musdb.audio_classes")
    before = classes.stempeg
    classes.stempeg = SimpleNamespace(Info=_Info)  # type: ignore[attr-defined]
    try:
        yield musdb
    finally:
        classes.stempeg = before  # type: ignore[attr-defined]


def _sample_url(musdb: ModuleType) -> str:
    text = (Path(musdb.__path__[0]) / "configs" / "mus.yaml").read_text()
    return next(line.split(maxsplit=1)[1] for line in text.splitlines() if "sample-url" in line)
