"""Every small variant on songs that sepexp makes itself: train what is missing, make the table.

    python experiments/survey/small.py [RECIPE ...] [OVERRIDE ...] [--runs FOLDER] [--table]

A run that was interrupted goes on, one that is finished is not repeated. What the runs showed is
kept in `small.json` beside this file, and README.md's table and picture are made from that.
Overrides such as optimizer.lr=1e-3 make an experiment of a run: its scores are printed, not kept.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sepexp.run import write_text

HERE = Path(__file__).parent
RECIPES = sorted(path.stem for path in (HERE / "small").glob("[!_]*.yaml"))
RESULTS = HERE / "small.json"
COSTS = HERE / "costs.json"  # of calibrate.py: times of a machine that did nothing else
COST_HEADS = ("parameters", "steps", "steps/s", "RTF", "peak MB")
FLOORS = ("mixture", "mixture/N", "near-silence")
BEGIN, END = "<!-- small variants -->\n", "<!-- end of small variants -->"
Results = dict[str, dict[str, Any]]


def train(recipe: str, folder: Path, overrides: list[str]) -> None:
    """Run the training command, as a person would; a second call goes on where it was stopped."""
    passport = folder / "run.json"
    if passport.is_file() and json.loads(passport.read_text()).get("status") == "finished":
        return
    resume = [f"resume={folder}"] if (folder / "checkpoints" / "last.ckpt").is_file() else []
    command = [sys.executable, "-m", "sepexp", f"experiments=survey/small/{recipe}"]
    command += [f"hydra.run.dir={folder}", "trainer.enable_progress_bar=false"]
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        subprocess.run([*command, *resume, *overrides], stdout=log, stderr=log, check=True)


def result(folder: Path) -> dict[str, Any]:
    """What the table and the picture need of a run: mean over tracks of SDR, costs, its curve."""
    from sepexp.report.runs import RunRecord, read_curves
    from sepexp.report.study import means

    record = RunRecord(folder)
    sdr = {
        system: {source: round(value, 2) for source, value in row.items()}
        for system, row in means(record, "SDR").items()
    }
    epochs, values = read_curves(folder / "metrics.csv")["valid/sdr"]
    steps = record.fact("steps")
    per_epoch = steps / record.fact("epochs")
    return {
        "sdr": sdr,
        "parameters": int(record.fact("parameters")),
        "steps": int(steps),
        "peak_memory_mb": round(record.fact("peak_memory_mb")),
        "curve": [
            [round((e + 1) * per_epoch), round(v, 3)] for e, v in zip(epochs, values, strict=True)
        ],
    }


def known() -> Results:
    """What earlier runs showed; read anew each time, because two of us may be at work."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def best_floor(sdr: dict[str, dict[str, float]]) -> dict[str, float]:
    """The best do-nothing score of every target."""
    targets = sdr["model"]
    return {t: max(sdr[row][t] for row in FLOORS if t in sdr.get(row, {})) for t in targets}


def cost_cells(recipe: str, run: dict[str, Any]) -> list[str]:
    """What stands under `COST_HEADS`."""
    times = json.loads(COSTS.read_text())[recipe]
    cells = [f"{run['parameters']:,}", str(run["steps"]), f"{1 / times['step']:.1f}"]
    return [*cells, f"{times['real_time_factor']:.3f}", str(run["peak_memory_mb"])]


def table(results: Results) -> str:
    """Markdown: best mean first, do-nothing rows and the oracle beneath."""
    any_run = next(iter(results.values()))["sdr"]
    targets = list(any_run["model"])
    heads = [*targets, *COST_HEADS]
    lines = [f"| recipe | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for recipe, run in sorted(results.items(), key=lambda item: -item[1]["sdr"]["model"]["all"]):
        floor = best_floor(run["sdr"])
        scores = [
            f"{value:.2f}" + ("" if value > floor[target] else " ✗")
            for target, value in run["sdr"]["model"].items()
        ]
        lines.append(f"| {recipe} | {' | '.join(scores + cost_cells(recipe, run))} |")
    for row in (*FLOORS, "IRM1"):
        scores = [f"{any_run[row][target]:.2f}" for target in targets]
        lines.append(f"| *{row}* | {' | '.join(scores)} |{' |' * (len(heads) - len(targets))}")
    return "\n".join(lines)


def picture(results: Results, path: Path) -> None:
    """Learning curves: mean SDR of the validation songs over steps, seven to a panel."""
    order = sorted(results, key=lambda recipe: -results[recipe]["sdr"]["model"]["all"])
    draw_curves({recipe: results[recipe]["curve"] for recipe in order}, path)


def draw_curves(curves: dict[str, list[list[float]]], path: Path) -> None:
    """A picture of SDR in dB over steps, seven curves to a panel, in the given order."""
    from matplotlib.figure import Figure

    groups = [list(curves)[first : first + 7] for first in range(0, len(curves), 7)]
    figure = Figure(figsize=(max(6, 4.5 * len(groups)), 4), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for panel, group in zip(panels, groups, strict=True):
        for recipe in group:
            steps, values = zip(*curves[recipe], strict=True)
            panel.plot(steps, values, marker=".", label=recipe)
        panel.set_xlabel("steps")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    panels[0].set_ylabel("SDR of the validation songs, dB")
    figure.savefig(path, dpi=110)


def write(results: Results) -> None:
    """Put table and picture into README.md."""
    readme = HERE / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    picture(results, HERE / "small.png")
    rows = table(results)
    passed = "Every target of every recipe lies above the best do-nothing row of that target."
    failed = "✗: not above the best do-nothing row of that target."
    made = f"{rows}\n\n{failed if '✗' in rows else passed}\n\n"
    missing = [recipe for recipe in RECIPES if recipe not in results]
    made += f"Not trained yet: {', '.join(missing)}.\n\n" if missing else ""
    made += "![Learning curves of the small variants](small.png)\n"
    readme.write_text(f"{before}{BEGIN}\n{made}{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "words", nargs="*", help="recipes, all of experiments/survey/small where none; overrides"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/survey_small"))
    parser.add_argument("--table", action="store_true", help="only table and picture")
    given = parser.parse_intermixed_args()
    overrides = [word for word in given.words if "=" in word]
    recipes = [word for word in given.words if "=" not in word]
    unknown = sorted(set(recipes) - set(RECIPES))
    if unknown:
        parser.error(f"no recipe named {', '.join(unknown)}: expected {', '.join(RECIPES)}")
    folders = given.runs.resolve()
    folders.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    wanted = [] if given.table else recipes or RECIPES
    for done, recipe in enumerate(wanted):
        spent = (time.monotonic() - began) / 60
        print(f"{recipe}: {done} of {len(wanted)} done in {spent:.0f} min", flush=True)
        folder = folders / re.sub(r"[^A-Za-z0-9.]+", "_", " ".join([recipe, *overrides]))
        train(recipe, folder, overrides)
        found = result(folder)
        print(f"  SDR {found['sdr']['model']}", flush=True)
        if not overrides:
            results = known() | {recipe: found}
            write_text(RESULTS, json.dumps(dict(sorted(results.items())), indent=1) + "\n")
    if not overrides:
        write(known())


if __name__ == "__main__":
    main()
