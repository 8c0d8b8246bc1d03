"""The test of a run: whole songs, scored beside rows that do nothing and rows that know all."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sepexp import build
from sepexp.audio import write_wav
from sepexp.cli.stream import make_stream
from sepexp.errors import UserError
from sepexp.evaluation import Song, evaluate, macs_a_second, model_system, write_scores
from sepexp.metric.museval_json import write_track
from sepexp.report.figures import write_run_figures
from sepexp.report.table import short_report
from sepexp.run import Run, write_text
from sepexp.separator import membership, target_names
from sepexp.trainer.audio import loudest


def test_run(
    run: Run,
    *,
    checkpoint: Path | None = None,
    split: str = "test",
    metric: Mapping[str, Any] | None = None,
    rows: Mapping[str, Any] | None = None,
    trust: Sequence[str] = (),
) -> None:
    """Score a run's checkpoint and write scores.csv, museval's JSON, audio, figures, report.md.

    Args:
        run: The run.
        checkpoint: Which state; the best one by default.
        split: "test" or "valid".
        metric: Changes to the run's own `metric` block.
        rows: Baselines beside those of the run's own `metric` block.
        trust: Packages of the user's own that the checkpoint may build from.

    Raises:
        UserError: There is no checkpoint, or the split holds no songs.
    """
    path = checkpoint or run.best_checkpoint
    if not path.is_file():
        raise UserError(f"{run.folder} has no checkpoint to test: train first, or resume=auto")
    model, config, _ = build.load_model(path, trust=trust)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    settings = dict(config["metric"]) | dict(metric or {})
    stream = make_stream(config)
    stream.prepare_data()
    stream.setup("test")
    tracks = stream.tracks(split)
    if not tracks:
        raise UserError(f"the {split} split of this data holds no songs: nothing to score on")
    systems = _systems(model, config, settings, rows or {})
    print(f"scores {len(systems)} rows on {len(tracks)} songs with {settings['backend']}")
    table, factor = evaluate(
        songs(stream, split, config),
        systems,
        run=run.passport().get("id", ""),
        sample_rate=config["sample_rate"],
        metric=settings,
        hear=_Listener(run, config["sample_rate"], settings),
        keep=_museval_files(run.folder / "museval", split, settings),
        progress=_Progress(len(tracks) * len(systems)),
    )
    write_scores(run.folder / "scores.csv", table)
    run.note(
        tested={
            "checkpoint": path.name,
            "split": split,
            "fingerprint": _fingerprint(run, stream, split),
            "metric": _card(settings),
        },
        real_time_factor=factor,
        macs=macs_a_second(model),
        peak_memory_mb=_peak_memory(device),
    )
    write_run_figures(run.folder)
    report = short_report(run.folder)
    write_text(run.folder / "report.md", report)
    print(f"\n{report}\n\neverything is in {run.folder}")


def _systems(
    model: Any, config: Mapping[str, Any], settings: Mapping[str, Any], rows: Mapping[str, Any]
) -> dict[str, Any]:
    """The model, the rows of the run's own config, and further ones."""
    inference = build.instantiate(config["inference"], where="inference")
    systems = {"model": model_system(model, config["sample_rate"], inference)}
    systems |= build.instantiate(settings["baselines"], where="metric.baselines")
    return systems | {name: row for name, row in rows.items() if name not in systems}


def _fingerprint(run: Run, stream: Any, split: str) -> str:
    """Of the songs that were scored; says so where they are not those that the run began with."""
    found = stream.fingerprint()[split]
    trained = ((run.passport().get("data") or {}).get("fingerprint") or {}).get(split)
    if trained not in (None, found):
        print(f"these are not the {split} songs that the run began with: their audio differs")
    return found


def _peak_memory(device: torch.device) -> float:
    """MiB: of the GPU where there is one, else of this process, its training included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def songs(stream: Any, split: str, config: Mapping[str, Any]) -> Iterator[Song]:
    """The songs of a split, each read when its turn comes."""
    members = membership(config["sources"], config["targets"])
    names = target_names(config["targets"])
    for track in stream.tracks(split):
        yield _song(stream.whole(track, stream.seconds[split]), members, names)


def _song(whole: Any, members: Tensor, names: Sequence[str]) -> Song:
    """In a function of its own, so that nothing of a song is kept while the next one is read."""
    there = (members @ (~whole.present).float()) == 0
    kept = [index for index, present in enumerate(there.tolist()) if present]
    truth = torch.einsum("ts,scn->tcn", members, whole.stems)[kept]
    return Song(whole.name, whole.mixture, truth, [names[k] for k in kept], kept)


class _Listener:
    """Keep the model's audio of the first songs, beside the truth."""

    def __init__(self, run: Run, rate: int, settings: Mapping[str, Any]) -> None:
        self.folder, self.rate = run.folder / "audio" / "test", rate
        self.left, self.seconds = settings["songs_to_hear"], settings["seconds_to_hear"]

    def __call__(self, song: Song, system: str, estimate: Tensor) -> None:
        if system != "model" or self.left <= 0:
            return
        self.left -= 1
        cut = loudest(song.truth, round(self.seconds * self.rate))
        parts = {"mixture": song.mixture}
        for name, truth, guess in zip(song.targets, song.truth, estimate, strict=True):
            parts |= {f"{name} truth": truth, f"{name} estimate": guess}
        for name, audio in parts.items():
            write_wav(self.folder / song.name / f"{name}.wav", audio[..., cut].numpy(), self.rate)


def _museval_files(
    folder: Path, split: str, settings: Mapping[str, Any]
) -> Callable[[Song, str, Any], None]:
    """One folder a system, in the layout that museval's MethodStore reads."""

    def keep(song: Song, system: str, scores: Any) -> None:
        method = folder / system.replace("/", " over ")
        window, hop = settings["window"], settings["hop"]
        write_track(method, split, song.name, song.targets, scores, window, hop)

    return keep


class _Progress:
    """A line for each song and row, with what is left."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total

    def __call__(self, line: str) -> None:
        self.done += 1
        print(f"[{self.done}/{self.total}] {line}", file=sys.stderr, flush=True)


def _card(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in ("backend", "window", "hop")}
