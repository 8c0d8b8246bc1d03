"""Folders of songs: layouts, splits, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sepexp.data.folder import Folder
from sepexp.data.track import Track
from sepexp.errors import UserError


def names(tracks: list[Track]) -> list[str]:
    return [track.name for track in tracks]


def folder(root: Path, valid: list[str] | None = None, test: list[str] | None = None) -> Folder:
    return Folder(root=str(root), valid=valid, test=test)


@pytest.fixture
def ten(tmp_path: Path, write_song: Callable) -> Path:
    for letter in "abcdefghij":
        write_song(tmp_path / letter, sources=("kick", "piano"), frames=50)
    return tmp_path


def test_given_splits_are_kept(tmp_path: Path, write_song: Callable) -> None:
    for song in ("train/a", "train/b", "valid/c", "test/d"):
        write_song(tmp_path / song, frames=50)
    (tmp_path / "train" / "notes").mkdir()
    (tmp_path / "train" / ".hidden").mkdir()
    (tmp_path / "train" / "a" / "cover.jpg").touch()
    corpus = folder(tmp_path).open()
    assert (names(corpus.train), names(corpus.valid), names(corpus.test)) == (
        ["a", "b"],
        ["c"],
        ["d"],
    )
    assert corpus.note == ""


def test_a_flat_folder_is_split_by_hash_and_says_so(ten: Path) -> None:
    corpus = folder(ten).open()
    splits = [names(corpus.train), names(corpus.valid), names(corpus.test)]
    assert [len(split) for split in splits] == [8, 1, 1]
    assert sorted(sum(splits, [])) == list("abcdefghij")
    assert f"valid songs drawn by hash: {splits[1][0]}" in corpus.note
    assert f"test songs drawn by hash: {splits[2][0]}" in corpus.note
    again = folder(ten).open()
    assert splits == [names(again.train), names(again.valid), names(again.test)]


def test_the_draw_looks_at_names_alone(ten: Path, tmp_path: Path, write_song: Callable) -> None:
    before = folder(ten).open()
    (tmp_path / "train").mkdir()
    for letter in "abcdefghij":
        (tmp_path / letter).rename(tmp_path / "train" / letter)
    after = folder(tmp_path).open()
    assert names(before.valid) == names(after.valid)
    assert names(before.test) == names(after.test)


def test_splits_by_name(ten: Path) -> None:
    corpus = folder(ten, valid=["j", "c"], test=["a"]).open()
    assert names(corpus.train) == list("bdefghi")
    assert names(corpus.valid) == ["j", "c"]
    assert names(corpus.test) == ["a"]
    assert corpus.note == ""
    with pytest.raises(UserError, match=r"data.corpus.valid names 'x', but the songs are a, b"):
        folder(ten, valid=["x"]).open()
    with pytest.raises(UserError, match=r"data.corpus.test names 'c'"):  # one song, one split
        folder(ten, valid=["c"], test=["c"]).open()
    with pytest.raises(UserError, match="data.corpus.valid is empty"):
        folder(ten, valid=[]).open()
    with pytest.raises(UserError, match="leaves no song to train on"):
        folder(ten, valid=list("abcde"), test=list("fghij")).open()


def test_one_song_is_left_out_of_any_folder(tmp_path: Path, write_song: Callable) -> None:
    for song in ("train/a", "train/b", "valid/c", "test/d"):
        write_song(tmp_path / song, frames=50)
    for left in "abcd":
        root, others = str(tmp_path), set("abcd") - {left}
        corpus = Folder(root=root, valid=None, test=None, leave_out=left).open()
        assert names(corpus.test) == [left]
        assert {*names(corpus.train), *names(corpus.valid)} == others
        assert len(corpus.valid) == 1 and len(corpus.train) == 2
    with pytest.raises(UserError, match=r"corpus.leave_out names .x., but the songs are a, b"):
        Folder(root=str(tmp_path), valid=None, test=None, leave_out="x").open()
    write_song(tmp_path / "test/a", frames=50)
    with pytest.raises(UserError, match="has 2 songs named 'a', so one can't be left out"):
        Folder(root=str(tmp_path), valid=None, test=None, leave_out="a").open()
    with pytest.raises(UserError, match="leave_out and data.corpus.test both name songs"):
        Folder(root=str(tmp_path), valid=None, test=["a"], leave_out="b")


def test_a_drawn_split_never_takes_a_named_song(ten: Path) -> None:
    drawn = names(folder(ten).open().valid)
    corpus = folder(ten, test=drawn).open()
    assert names(corpus.test) == drawn and names(corpus.valid) != drawn


def test_any_names_and_missing_stems(tmp_path: Path, write_song: Callable) -> None:
    write_song(tmp_path / "a", sources=("kick", "piano"), mixture=False)
    write_song(tmp_path / "b", sources=("piano",), ending="flac")
    write_song(tmp_path / "c", sources=("kick", "flute"))
    corpus = folder(tmp_path).open()
    songs = {song.name: song for song in [*corpus.train, *corpus.valid, *corpus.test]}
    assert {name: song.sources for name, song in songs.items()} == {
        "a": ("kick", "piano"),
        "b": ("piano",),
        "c": ("flute", "kick"),
    }


def test_two_files_of_one_stem_are_refused(tmp_path: Path, write_song: Callable) -> None:
    write_song(tmp_path / "a")
    write_song(tmp_path / "a", ending="flac")
    with pytest.raises(UserError, match="are the same stem"):
        folder(tmp_path).open()


def test_missing_and_empty_folders(tmp_path: Path, write_song: Callable) -> None:
    with pytest.raises(UserError, match=r"data.corpus.root=PATH"):
        Folder(root=None, valid=None, test=None).open()
    with pytest.raises(UserError, match="there is no folder"):
        folder(tmp_path / "nowhere").open()
    with pytest.raises(UserError, match="has no song for train"):
        folder(tmp_path).open()
    (tmp_path / "test").mkdir()
    with pytest.raises(UserError, match="has test but no train folder"):
        folder(tmp_path).open()
    write_song(tmp_path / "train" / "a")
    write_song(tmp_path / "train" / "b")
    with pytest.raises(UserError, match="has no song for test"):
        folder(tmp_path).open()


def test_one_song_is_too_few_to_draw_from(tmp_path: Path, write_song: Callable) -> None:
    write_song(tmp_path / "a")
    with pytest.raises(UserError, match="has 1 song to draw a split from"):
        folder(tmp_path).open()


def test_an_unreadable_folder(
    tmp_path: Path, write_song: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    write_song(tmp_path / "a")
    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(UserError, match="can't list .*Permission denied"):
        folder(tmp_path).open()
