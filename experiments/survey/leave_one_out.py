"""The best small variants on real songs: train on all but one, test on that one, song by song.

    python experiments/survey/leave_one_out.py SONGS [--recipes NAME ...] [--leave NAME ...]

SONGS holds {train,test}/<song>/<stem>.flac or .wav. Where none is named, the recipes are the five
with the best mean in `small.json`, and every song is left out in turn. A run that was interrupted
goes on, one that is finished is not repeated; what they showed is kept in `leave_one_out.json`, and
README.md's second table and the picture beside it are made from that.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from small import COST_HEADS, FLOORS, HERE, Results, cost_cells, draw_curves, known, result, train

from sepexp.data.folder import Folder
from sepexp.errors import UserError
from sepexp.report.verdicts import compare
from sepexp.run import write_text

HIDDEN = -25.0  # dB of the mixture, as an estimate of a target, below which that one is not heard
PICTURE = HERE / "leave_one_out.png"
RESULTS = HERE / "leave_one_out.json"  # recipe -> left-out song -> what its run showed
BEGIN, END = "<!-- real songs -->\n", "<!-- end of real songs -->"


def best(count: int) -> list[str]:
    """The recipes with the best mean on the synthesised songs."""
    results = known()
    order = sorted(results, key=lambda recipe: -results[recipe]["sdr"]["model"]["all"])
    return order[:count]


def shown() -> dict[str, Results]:
    """What earlier runs showed; read anew each time, because two of us may be at work."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def names(root: Path) -> list[str]:
    """The songs, those of the test folder first."""
    corpus = Folder(root=str(root), valid=None, test=None).open()
    return [track.name for track in (*corpus.test, *corpus.train, *corpus.valid)]


def quoted(value: object) -> str:
    """A value as Hydra's grammar wants it, whatever characters it has."""
    text = str(value).replace("'", "\\'")
    return f"'{text}'"


def sounding(run: dict[str, Any], row: str) -> dict[str, float]:
    """Target -> SDR, of the targets that sound: silent in most frames is not a score to average."""
    mixture, scores = run["sdr"]["mixture"], run["sdr"].get(row, {})
    return {
        target: scores[target]
        for target, level in mixture.items()
        if target != "all" and math.isfinite(level) and level > HIDDEN
    }


def mean_over_songs(runs: Results, row: str) -> dict[str, float]:
    """Target -> mean SDR over the songs in which it sounds; `all` is the mean of the targets."""
    found: dict[str, list[float]] = {}
    for run in runs.values():
        for target, value in sounding(run, row).items():
            found.setdefault(target, []).append(value)
    means = {target: statistics.mean(values) for target, values in found.items()}
    if not means:
        raise UserError("no target sounds in any of these songs: there is nothing to average")
    return means | {"all": statistics.mean(means.values())}


def advantage(runs: Results, row: str) -> str:
    """How far the model lies above a row, mean over songs, with the interval over songs at 95 %."""
    heard = [run for run in runs.values() if sounding(run, row)]
    pairs = [[statistics.mean(sounding(run, r).values()) for r in ("model", row)] for run in heard]
    model, other = np.array(pairs).T[:, None]
    found = compare(model, other)
    interval = f" ({found.low:+.2f} to {found.high:+.2f})" if len(pairs) > 1 else ""
    return f"{found.difference:+.2f}{interval}"


def comparable(results: dict[str, Results]) -> dict[str, Results]:
    """The runs on the songs that all recipes have, by name."""
    songs = sorted(set.intersection(*(set(runs) for runs in results.values())))
    if not songs:
        raise UserError(
            f"{', '.join(results)} have no left-out song in common, so there is no table yet: "
            "leave the same songs out with all of them"
        )
    return {recipe: {song: runs[song] for song in songs} for recipe, runs in results.items()}


def table(common: dict[str, Results]) -> str:
    """Markdown: the recipes over the songs, which all of them have, do-nothing rows and oracle."""
    first = next(iter(common.values()))
    songs = list(first)
    rows = {recipe: mean_over_songs(runs, "model") for recipe, runs in common.items()}
    floors = {f"*{row}*": mean_over_songs(first, row) for row in (*FLOORS, "IRM1")}
    best_floor = max(FLOORS, key=lambda row: floors[f"*{row}*"]["all"])
    targets = ("vocals", "drums", "bass", "other", "all")
    heads = [*targets, f"above {best_floor} (95 %)", *COST_HEADS]
    lines = [f"| recipe | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    ordered = sorted(rows.items(), key=lambda item: -item[1]["all"])
    for name, means in (*ordered, *floors.items()):
        cells = [f"{means[target]:.2f}" for target in targets]
        runs = common.get(name)
        blank = [""] * (1 + len(COST_HEADS))
        cells += [advantage(runs, best_floor), *cost_cells(name, runs[songs[0]])] if runs else blank
        lines.append(f"| {name} | {' | '.join(cells)} |")
    heard = {
        target: sum(target in sounding(first[song], "mixture") for song in songs)
        for target in targets[:-1]
    }
    counted = ", ".join(f"{target} in {count}" for target, count in heard.items())
    return (
        "\n".join(lines) + f"\n\nSongs left out in turn: {'; '.join(songs)}. A target "
        f"counts where the mixture's SDR is above {HIDDEN:.0f} dB, elsewhere it is silent in most "
        f"frames: {counted}.\n"
    )


def mean_curve(runs: Results) -> list[list[float]]:
    """Steps and SDR of the validation song, mean over the runs."""
    by_step = zip(*(run["curve"] for run in runs.values()), strict=True)
    return [[points[0][0], statistics.mean(value for _, value in points)] for points in by_step]


def write() -> None:
    """Put the table into README.md, and the learning curves beside it."""
    readme, results = HERE / "README.md", comparable(shown())
    before, _, rest = readme.read_text().partition(BEGIN)
    draw_curves({recipe: mean_curve(runs) for recipe, runs in results.items()}, PICTURE)
    made = f"{table(results)}\n![Learning curves on real songs]({PICTURE.name})\n"
    write_text(readme, f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--recipes", nargs="+", help="the five best where none")
    parser.add_argument("--leave", nargs="+", help="songs to leave out; all in turn where none")
    parser.add_argument("--runs", type=Path, default=Path("runs/survey_real"))
    given = parser.parse_args()
    folders = given.runs.resolve()
    folders.mkdir(parents=True, exist_ok=True)
    recipes = given.recipes or best(5)
    songs = given.leave or names(given.root)
    jobs = [(song, recipe) for song in songs for recipe in recipes]
    began = time.monotonic()
    for done, (song, recipe) in enumerate(jobs):
        spent = (time.monotonic() - began) / 60
        print(f"{recipe} without {song}: {done} of {len(jobs)} done in {spent:.0f} min", flush=True)
        folder = folders / f"{recipe}_{re.sub(r'[^A-Za-z0-9]+', '_', song)}"
        corpus = [f"root={quoted(given.root.resolve())}", f"leave_out={quoted(song)}"]
        data = ["experiments/survey/songs=real", *(f"data.corpus.{word}" for word in corpus)]
        train(recipe, folder, data)
        results = shown()
        results.setdefault(recipe, {})[song] = result(folder)
        write_text(RESULTS, json.dumps(results, indent=1, sort_keys=True) + "\n")
    write()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"leave_one_out: {error}")
