"""`python -m sepexp separate RUN SONG...`: take songs apart with a trained run."""

from __future__ import annotations

import argparse
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Read the flags, separate, write one wav a target."""
    parser = argparse.ArgumentParser(
        prog="python -m sepexp separate",
        description="Take songs apart: OUT/<song>/<target>.wav at the song's own rate.",
    )
    parser.add_argument("run", type=Path, help="a run folder, or a checkpoint file")
    parser.add_argument("songs", type=Path, nargs="+", help="audio files (wav, FLAC, ogg, mp3)")
    parser.add_argument("--out", type=Path, default=Path("separated"), help="[separated]")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE")
    given = parser.parse_args(arguments)
    import torch

    from sepexp import build
    from sepexp.audio import read, write_wav
    from sepexp.inference import separate
    from sepexp.run import open_run

    path = given.run if given.run.is_file() else open_run(given.run).best_checkpoint
    model, config, targets = build.load_model(path, trust=given.trust)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    inference = build.instantiate(config["inference"], where="inference")
    for song in given.songs:
        audio, rate = read(song)
        bar = _Bar(song.name)
        stems = separate(model, audio, sample_rate=rate, inference=inference, progress=bar)
        for name, stem in zip(targets, stems, strict=True):
            write_wav(given.out / song.stem / f"{name}.wav", stem, rate)
        print(f"written to {given.out / song.stem}")


class _Bar:
    """A line that counts chunks."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, done: int, total: int) -> None:
        end = "\n" if done == total else ""
        print(f"\r{self.name}: {done}/{total} chunks", end=end, flush=True)
