"""Any folder of songs: one folder a song, one wav or FLAC file a stem."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from sepexp.data.track import Corpus, FileTrack, Track, from_files
from sepexp.errors import UserError

ENDINGS = (".wav", ".flac")
MIXTURE = "mixture"
SHARE = 0.14  # of the songs, where a split is drawn: MUSDB18 keeps 14 of its 100


class Folder:
    """Songs under `root/{train,valid,test}/<song>/` or `root/<song>/`, `<stem>.wav` or `.flac`.

    Stems may have any names and may be missing in some songs; `mixture` is optional. A split that
    is neither given as a folder nor by names is drawn from the other songs by a hash of their
    names, and the corpus' note says so.

    Args:
        root: The folder.
        valid: Names of the validation songs; None takes `root/valid` or draws them.
        test: Names of the test songs; None takes `root/test` or draws them.
        leave_out: Name of the one song to test on; all others, whichever folder they lie in, are
            there to train and validate on. None for the splits above.
    """

    def __init__(
        self,
        *,
        root: str | None,
        valid: Sequence[str] | None,
        test: Sequence[str] | None,
        leave_out: str | None = None,
    ) -> None:
        if leave_out is not None and test is not None:
            raise UserError("data.corpus.leave_out and data.corpus.test both name songs: keep one")
        self.root, self.valid, self.leave_out = root, valid, leave_out
        self.test = test if leave_out is None else [leave_out]

    def prepare(self) -> None:
        """Nothing to do: the files are there."""

    def open(self) -> Corpus:
        """Describe every song by its files' headers.

        Raises:
            UserError: No folder, no songs, an empty split, or a song whose files don't fit.
        """
        if self.root is None:
            raise UserError("data=folder needs data.corpus.root=PATH, a folder of songs")
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise UserError(
                f"there is no folder {root}: expected train/<song>/<stem>.wav or "
                "<song>/<stem>.wav below data.corpus.root"
            )
        splits = {
            split: songs(root / split)
            for split in ("train", "valid", "test")
            if (root / split).is_dir()
        }
        if "train" not in splits:
            if splits:
                raise UserError(f"{root} has {' and '.join(splits)} but no train folder: add it")
            splits["train"] = songs(root)
        for split, found in splits.items():
            if not found:
                raise UserError(
                    f"{root} has no song for {split}: expected a folder a song with one wav or "
                    "FLAC file a stem"
                )
        if self.leave_out is not None:
            splits = {"train": [song for found in splits.values() for song in found]}
            alike = [song.name for song in splits["train"] if song.name == self.leave_out]
            if len(alike) > 1:  # the other one would be trained on
                raise UserError(
                    f"{root} has {len(alike)} songs named {self.leave_out!r}, so one can't be left "
                    "out: rename or remove the others"
                )
        notes = []
        named = (("valid", self.valid), ("test", self.test))
        for split, names in sorted(named, key=lambda pair: pair[1] is None):  # drawn from the rest
            if names is not None:
                option = split if self.leave_out is None or split == "valid" else "leave_out"
                splits[split] = _named(splits, split, names, f"data.corpus.{option}")
            elif split not in splits:
                splits[split] = drawn(splits["train"], root)
                notes.append(f"{split} songs drawn by hash: {_listed(splits[split])}")
            taken = {id(song) for song in splits[split]}
            splits["train"] = [song for song in splits["train"] if id(song) not in taken]
        if not splits["train"]:
            raise UserError(f"{root} leaves no song to train on: name fewer for valid and test")
        return Corpus(splits["train"], splits["valid"], splits["test"], "; ".join(notes))


def songs(root: Path) -> list[Track]:
    """Every folder with audio files in it is a song, by name."""
    found: list[Track] = []
    for folder in listing(root):
        if not folder.is_dir():
            continue
        song = song_in(folder)
        if song is not None:
            found.append(song)
    return found


def song_in(folder: Path) -> FileTrack | None:
    """The song of a folder, None where no stem lies in it.

    Raises:
        UserError: One stem lies there as wav and as FLAC, or its files don't fit each other.
    """
    files: dict[str, Path] = {}
    for path in listing(folder):
        if path.suffix.lower() not in ENDINGS:
            continue
        if path.stem in files:
            raise UserError(f"{files[path.stem]} and {path} are the same stem: remove one of them")
        files[path.stem] = path
    mixture = files.pop(MIXTURE, None)
    return from_files(folder.name, files, mixture) if files else None


def drawn(candidates: Sequence[Track], where: object) -> list[Track]:
    """Songs that a hash of their names picks, the same on every machine and in any order.

    Raises:
        UserError: There are fewer than two songs to draw from.
    """
    if len(candidates) < 2:
        raise UserError(
            f"{where} has {len(candidates)} song to draw a split from: expected at least two; "
            "add songs or name the split's with data.corpus.valid and data.corpus.test"
        )
    ranked = sorted(candidates, key=lambda song: hashlib.sha256(song.name.encode()).digest())
    picked = {song.name for song in ranked[: max(1, round(SHARE * len(ranked)))]}
    return [song for song in candidates if song.name in picked]


def _named(
    splits: dict[str, list[Track]], split: str, names: Iterable[str], option: str
) -> list[Track]:
    pool = {song.name: song for song in [*splits["train"], *splits.get(split, [])]}
    missing = [name for name in names if name not in pool]
    if missing:
        raise UserError(
            f"{option} names {missing[0]!r}, but the songs are {_listed(pool.values())}"
        )
    if not names:
        raise UserError(f"{option} is empty: name at least one song, or leave it null")
    return [pool[name] for name in names]


def _listed(tracks: Iterable[Track]) -> str:
    names = [track.name for track in tracks]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def listing(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without hidden files.

    Raises:
        UserError: It can't be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"can't list {folder}: {error.strerror}; check its rights") from None
