"""How many steps of every small variant fit into four minutes on two cores, and how fast it is.

Trains each recipe of `experiments/survey/small` for a few seconds through the real trainer, and
separates a song of 10 s. Prints the median step, the steps that belong into the recipe's YAML and
the real-time factor, and keeps the times in `costs.json` for the table; run it on a machine that
does nothing else.

    python experiments/survey/calibrate.py [RECIPE ...] [--seconds 240] [--write]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import torch

from sepexp.build import instantiate, model
from sepexp.cli.compose import compose, plain
from sepexp.cli.experiment import Songs, keep_memory, make_separator, make_trainer, quiet
from sepexp.cli.stream import make_stream
from sepexp.inference import separate

RECIPES = Path(__file__).parent / "small"
COSTS = Path(__file__).parent / "costs.json"
EPOCHS = 10
WARM, PROBE = 3, 12.0  # steps that don't count, and the seconds of those that do


class Clock(lightning.Callback):
    """Stops when enough steps were timed."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.ends.append(time.monotonic())
        if len(self.ends) > WARM + 3 and self.ends[-1] - self.ends[WARM - 1] > PROBE:
            trainer.should_stop = True

    @property
    def step(self) -> float:
        late = self.ends[WARM - 1 :]
        return statistics.median(b - a for a, b in zip(late, late[1:], strict=False))


def real_time_factor(built: Any, config: dict[str, Any]) -> float:
    """Seconds of computing for a second of music, best of three."""
    song = 0.1 * torch.randn(config["channels"], 10 * config["sample_rate"])
    inference = instantiate(config["inference"], where="inference")
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        with torch.no_grad():
            separate(built.eval(), song, sample_rate=config["sample_rate"], inference=inference)
        spent.append(time.perf_counter() - began)
    return min(spent) / 10


def costs(recipe: str) -> tuple[float, float]:
    """Median seconds of a training step, and the real-time factor."""
    with TemporaryDirectory() as folder:
        overrides = [f"experiments=survey/small/{recipe}", f"folder={folder}", "resume=null"]
        config = plain(compose([*overrides, "data.examples_per_epoch=4000"]))
        config["trainer"].update(callbacks={}, logger=False, limit_val_batches=0, max_epochs=1)
        config["trainer"]["enable_progress_bar"] = False
        config["trainer"]["enable_checkpointing"] = False
        lightning.seed_everything(1, verbose=False)
        built = model(config)
        loss = instantiate(config["loss"], where="loss")
        stream = make_stream(config, built)
        stream.prepare_data()
        stream.setup("fit")
        separator = make_separator(config, built, loss)
        if hasattr(built, "prepare"):
            built.prepare(Songs(stream, separator))
        trainer = make_trainer(config, overrides, list(config["targets"]))
        clock = Clock()
        trainer.callbacks.append(clock)
        trainer.fit(separator, datamodule=stream)
        return clock.step, real_time_factor(built, config)


def write(recipe: str, steps: int, batch: int) -> None:
    path = RECIPES / f"{recipe}.yaml"
    line = f"examples_per_epoch: {steps // EPOCHS * batch}"
    path.write_text(re.sub(r"examples_per_epoch: .*", line, path.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", help="names; all where none is given")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--write", action="store_true", help="put the steps into the recipes")
    given = parser.parse_args()
    quiet()
    keep_memory()
    torch.set_num_threads(2)
    known = sorted(p.stem for p in RECIPES.glob("[!_]*.yaml"))
    for recipe in given.recipes or known:
        step, factor = costs(recipe)
        steps = int(given.seconds / step) // EPOCHS * EPOCHS
        print(f"{recipe:18} {step:7.3f} s a step, {steps:5} steps, RTF {factor:.4f}", flush=True)
        known_costs = json.loads(COSTS.read_text()) if COSTS.is_file() else {}
        known_costs[recipe] = {"step": round(step, 4), "real_time_factor": round(factor, 4)}
        COSTS.write_text(json.dumps(dict(sorted(known_costs.items())), indent=1) + "\n")
        if given.write:
            write(recipe, steps, compose([f"experiments=survey/small/{recipe}"]).data.batch_size)


if __name__ == "__main__":
    main()
