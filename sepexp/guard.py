"""No test song where a choice is made: songs are known by their content, whatever their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from sepexp.errors import UserError


class Known(Protocol):
    """A song with a name and a fingerprint of its decoded audio."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...


def shared(songs: Iterable[Known], test: Iterable[Known]) -> list[str]:
    """Names of the songs whose audio is also a test song's, with its name there if it differs."""
    known = {song.fingerprint: song.name for song in test}
    return [
        song.name if known[song.fingerprint] == song.name
        else f"{song.name} (= {known[song.fingerprint]})"
        for song in songs
        if song.fingerprint in known
    ]  # fmt: skip


def check_selection(
    *,
    train: Sequence[Known] = (),
    valid: Sequence[Known],
    test: Sequence[Known],
    allowed: bool,
) -> list[str]:
    """Refuse a run that learns from, or chooses its checkpoint on, songs that it is tested on.

    Args:
        train: Songs that the model learns from.
        valid: Songs that validation, early stopping and the best checkpoint look at.
        test: Songs of the final score.
        allowed: `allow_test_selection`: go on, and let every table say so.

    Returns:
        The songs to be noted in the run's passport as `test_selection`; empty for a clean run.

    Raises:
        UserError: Songs are shared and that isn't allowed.
    """
    chosen, learned = shared(valid, test), shared(train, test)
    songs = list(dict.fromkeys([*chosen, *learned]))
    if not songs or allowed:
        return songs
    what = f"{len(chosen)} validation songs" if chosen else f"{len(learned)} training songs"
    why = "the best checkpoint would be chosen on the test" if chosen else "they would be learned"
    names = ", ".join((chosen or learned)[:3]) + (", ..." if len(chosen or learned) > 3 else "")
    raise UserError(
        f"{what} are also test songs by their audio ({names}): {why}; change the split, or set "
        "allow_test_selection=true and every table will say so"
    )
