"""`python -m sepexp data`: songs prepared before a training, and the stream to it inspected."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any

# what each word does, and the file in `sepexp.cli` whose `main(arguments)` does it
COMMANDS = {
    "prepare": ("fetch, synthesise or decode the songs that a training would", None),
    "doctor": ("measure what each stage of the training stream costs", "data_doctor"),
    "audit": ("render examples of the augmentation and check what it draws", "data_audit"),
}


def main(arguments: list[str]) -> None:
    """Hand over to the command that the first word names."""
    parser = argparse.ArgumentParser(
        prog="python -m sepexp data",
        description="Prepare or inspect songs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {name:10} {says}" for name, (says, _) in COMMANDS.items()),
    )
    parser.add_argument("command", choices=list(COMMANDS), help="its flags: COMMAND --help")
    given = parser.parse_args(arguments[:1])
    other = COMMANDS[given.command][1]
    entry = importlib.import_module(f"sepexp.cli.{other}").main if other else prepare
    from sepexp.cli.train import composing

    composing(entry, arguments[1:])


def prepare(arguments: list[str]) -> None:
    """Prepare the corpus and the store that a config names, and say what is there."""
    parser = argparse.ArgumentParser(
        prog="python -m sepexp data prepare",
        description="Fetch, synthesise or decode the songs that a training would.",
        epilog="example: python -m sepexp data prepare data.corpus.root=/data/musdb18hq",
    )
    parser.add_argument("--processes", type=int, help="that decode at once (one a core, 8 at most)")
    parser.add_argument("--check", action="store_true", help="read all that is stored and compare")
    parser.add_argument("overrides", nargs="*", help="of the config, such as data=folder")
    given = parser.parse_intermixed_args(arguments)
    if given.processes is not None and given.processes < 1:
        parser.error(f"--processes is {given.processes}: expected at least 1")
    from sepexp.build import instantiate
    from sepexp.cli.compose import compose, plain
    from sepexp.data.store import Store

    data = plain(compose(given.overrides))["data"]
    corpus = instantiate(data["corpus"], where="data.corpus")
    store = Store(
        form=data.get("store") or "none", folder=data.get("store_dir"), processes=given.processes
    )
    corpus.prepare()
    store.prepare(corpus.open())
    found = store.open(corpus.open())
    if given.check:
        store.check(corpus.open())
    _say(found)


def _say(corpus: Any) -> None:
    for split in ("train", "valid", "test"):
        tracks = getattr(corpus, split)
        minutes = sum(track.frames / track.rate for track in tracks) / 60
        sources = sorted({source for track in tracks for source in track.sources})
        print(f"{split:6} {len(tracks):4} songs {minutes:8.1f} min  {', '.join(sources)}")
    if corpus.note:
        print(corpus.note, file=sys.stderr)
