"""Songs that this package synthesises itself: a first run without a download."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sepexp.data.demo import demo_folder, write_demo
from sepexp.data.folder import Folder
from sepexp.data.store import locked
from sepexp.data.track import Corpus
from sepexp.errors import UserError


class Demo:
    """Synthesised songs in the HQ layout, written once into the cache folder.

    Scores on them rank nothing: they show that the chain works.

    Args:
        train: Number of songs to train on.
        valid: Number of songs to validate on.
        test: Number of songs to test on.
        seconds: Length of a training or validation song.
        test_seconds: Length of a test song.
        seed: Of the songs; it is not the run's, so that every run hears the same.
    """

    def __init__(
        self, *, train: int, valid: int, test: int, seconds: float, test_seconds: float, seed: int
    ) -> None:
        self.settings: dict[str, Any] = {
            "train": train,
            "valid": valid,
            "test": test,
            "seconds": seconds,
            "test_seconds": test_seconds,
            "seed": seed,
        }

    @property
    def root(self) -> Path:
        """Where the songs lie or will lie."""
        return demo_folder(**self.settings)

    def prepare(self) -> None:
        """Synthesise what isn't there yet."""
        if _is_whole(self.root):
            return
        with locked(self.root.with_name(self.root.name + ".lock"), "synthesising the demo songs"):
            if not _is_whole(self.root):
                write_demo(self.root, **self.settings, progress=_say)

    def open(self) -> Corpus:
        """The written songs.

        Raises:
            UserError: They aren't there, or not all of them.
        """
        if not _is_whole(self.root):
            raise UserError(
                f"the demo songs in {self.root} aren't complete: run "
                "`python -m sepexp data prepare data=demo`"
            )
        names = (self.root / "validation.txt").read_text().splitlines()
        corpus = Folder(root=str(self.root), valid=names, test=None).open()
        return corpus._replace(note="synthesised songs: their scores rank nothing")


def _is_whole(root: Path) -> bool:
    return (root / "demo.json").is_file()  # written last


def _say(done: int, songs: int) -> None:
    end = "\n" if done == songs or not sys.stderr.isatty() else ""
    start = "\r" if sys.stderr.isatty() else ""
    print(f"{start}synthesised {done}/{songs} songs", end=end, file=sys.stderr, flush=True)
