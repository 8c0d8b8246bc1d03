"""The upsampling study behind `python -m sepexp evaluate --tones`: tones by configs and runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from torch import nn

from sepexp import build
from sepexp.cli.compose import compose, conf_dir, plain
from sepexp.cli.experiment import quiet
from sepexp.cli.stream import make_stream
from sepexp.cli.test import songs as test_songs
from sepexp.errors import UserError
from sepexp.inference import at_model
from sepexp.metric.tones import Tones, measure, measure_pauses
from sepexp.plot import save
from sepexp.report.text import markdown, terminal
from sepexp.report.tones import tones_csv, tones_figure, tones_table
from sepexp.run import open_run, write_text


class System(NamedTuple):
    """What is measured: overrides of an untrained config, or the checkpoint of a run."""

    name: str
    overrides: list[str]
    checkpoint: Path | None


def main(arguments: list[str]) -> None:
    """Read the flags and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m sepexp evaluate --tones",
        description="Measure the tones that a decoder's upsampling makes from ones, noise and "
        "silence (arXiv 2010.14356), side by side for runs and untrained configs, as in: "
        "model=demucs_small model.upsampling=transposed,nearest",
    )
    # fmt: off
    parser.add_argument(
        "systems", nargs="+", metavar="RUN|CONFIG",
        help="a run folder or checkpoint; a model config such as demucs_small; or overrides, all "
        "of one config, in which commas compare; a quoted 'model=a model.depth=3' is one by itself",
    )
    parser.add_argument(
        "--seeds", type=int, default=5, help="initialisations of an untrained config (5)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER",
        help="where table, numbers and picture go: RUN/tones, or tones for several or for configs",
    )
    parser.add_argument(
        "--songs", action="store_true",
        help="listen also to the test songs of a run where a target pauses and the others don't",
    )
    parser.add_argument("--checkpoint", type=Path, help="another state than checkpoints/best.ckpt")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE",
        help="a package of your own that a checkpoint's model may come from",
    )
    # fmt: on
    given = parser.parse_intermixed_args(arguments)
    quiet()
    tones(
        given.systems,
        seeds=given.seeds,
        songs=given.songs,
        out=given.out,
        checkpoint=given.checkpoint,
        trust=given.trust,
    )


def tones(
    words: Sequence[str],
    *,
    seeds: int,
    songs: bool,
    out: Path | None,
    checkpoint: Path | None,
    trust: Sequence[str],
) -> None:
    """Measure, print a table, and write table, numbers and picture.

    Args:
        words: Run folders, model configs and overrides, see `systems`.
        seeds: Initialisations of an untrained config.
        songs: Whether to measure pauses in a run's test songs.
        out: The folder to write into; a single run's own by default.
        checkpoint: Another state of a single run.
        trust: Packages of the user's own that a checkpoint may build from.

    Raises:
        UserError: A word means nothing, or there is nowhere to write.
    """
    if seeds < 1:
        raise UserError(f"--seeds is {seeds}: expected at least 1")
    asked = systems(words, checkpoint)
    if out is None:
        single = len(asked) == 1 and asked[0].checkpoint is not None
        out = Path(words[0]) / "tones" if single and Path(words[0]).is_dir() else Path("tones")
    found: dict[str, list[Tones]] = {}
    for system in asked:
        listens = songs and system.checkpoint is not None
        found[system.name] = [
            _measured(model, config, seed, listens)
            for seed, model, config in _models(system, seeds, trust)
        ]
        print(f"measured {system.name}", flush=True)
    table = tones_table(found)
    write_text(out / "tones.csv", tones_csv(found))
    write_text(out / "tones.md", markdown(table) + "\n")
    save(tones_figure(found), out / "tones.png")
    print(f"\n{terminal(table)}\n\nwritten to {out}: tones.md, tones.csv, tones.png")


def systems(words: Sequence[str], checkpoint: Path | None = None) -> list[System]:
    """Which systems the words of a command line name.

    A path is a run's folder or a checkpoint; a word without `=` is a model config; words with `=`
    are overrides, all of one config, and commas in them make several, as in a sweep. A quoted
    `"model=a model.depth=3"` is a config of its own.

    Raises:
        UserError: A word is none of these, or two systems are the same.
    """
    found, overrides = [], []
    for word in words:
        path = Path(word)
        if path.exists():
            best = path if path.is_file() else checkpoint or open_run(path).best_checkpoint
            found.append(System(word, [], best))
        elif (conf_dir() / "model" / f"{word}.yaml").is_file():
            found.append(System(word, [f"model={word}"], None))
        elif " " in word.strip():
            found += _combinations(word.split())
        elif "=" in word:
            overrides.append(word)
        else:
            raise UserError(
                f"{word} is neither a run folder, nor a checkpoint, nor a model config: expected "
                "one of these or overrides such as model=demucs_small model.upsampling=nearest"
            )
    found += _combinations(overrides) if overrides else []
    names = [system.name for system in found]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise UserError(f"{', '.join(doubles)} is named twice: name each system once")
    return found


def _combinations(overrides: Sequence[str]) -> list[System]:
    """Every combination of the choices that commas separate, named by what tells them apart."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise UserError(f"{' '.join(overrides)} can't be read as overrides: {error}") from None
    choices = [
        [f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()]
        if one.is_sweep_override()
        else [text]
        for one, text in zip(parsed, overrides, strict=True)
    ]
    several = [len(options) > 1 for options in choices]
    made = []
    for chosen in product(*choices):
        apart = [text for text, differs in zip(chosen, several, strict=True) if differs]
        name = " ".join(text.removeprefix("model.") for text in (apart or chosen))
        made.append(System(name, list(chosen), None))
    return made


def _models(
    system: System, seeds: int, trust: Sequence[str]
) -> Iterator[tuple[int, nn.Module, dict[str, Any]]]:
    """Seed, model and config, one after the other, so that only one model is in memory."""
    if system.checkpoint is not None:
        if not system.checkpoint.is_file():
            raise UserError(f"{system.name} has no checkpoint to measure: train first")
        model, config, _ = build.load_model(system.checkpoint, trust=trust)
        yield 0, model, config
        return
    try:
        config = plain(compose(system.overrides))
    except HydraException as error:
        raise UserError(f"{' '.join(system.overrides)}: {error}") from None
    for seed in range(1, seeds + 1):
        torch.manual_seed(seed)
        yield seed, build.model(config), config


def _measured(model: Any, config: Mapping[str, Any], seed: int, listens: bool) -> Tones:
    found = measure(model, seed=seed)
    if not listens:
        return found
    return found._replace(pauses=measure_pauses(model, _songs(model, config)))


def _songs(
    model: Any, config: Mapping[str, Any]
) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[int]]]:
    """The test songs of a run at the model's rate, with the positions of their targets."""
    stream = make_stream(dict(config))
    stream.prepare_data()
    stream.setup("test")
    for song in test_songs(stream, "test", config):
        rate = config["sample_rate"]
        yield at_model(song.mixture, model, rate), at_model(song.truth, model, rate), song.kept
