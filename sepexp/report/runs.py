"""Run folders as a report reads them: passport, config and scores, with what tells runs apart."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sepexp.errors import UserError
from sepexp.report.scores import Scores, read_scores

# what may differ between runs without making them different experiments; the seed has its own place
NOT_SETTINGS = ("seed", "folder", "runs", "resume", "metric", "allow_test_selection")
NOT_TRAINER = ("callbacks", "logger", "enable_progress_bar", "devices", "num_nodes", "accelerator")


class RunRecord:
    """A run that is over, or far enough to be reported.

    `name` is what figures and players call it: the label, or something that says more.

    Args:
        folder: The run folder.
        label: Its name in tables.

    Raises:
        UserError: The folder holds no run, or its passport can't be read.
    """

    def __init__(self, folder: Path, *, label: str = "") -> None:
        self.folder = folder
        self.passport = _json(folder / "run.json")
        self.config = _json(folder / "config.json") if (folder / "config.json").is_file() else {}
        self.label = self.name = label or folder.name

    @cached_property
    def scores(self) -> Scores:
        """The score table, under this run's label."""
        return read_scores(self.folder / "scores.csv", run=self.label)

    @property
    def has_scores(self) -> bool:
        """Whether it was tested."""
        return (self.folder / "scores.csv").is_file()

    @property
    def seed(self) -> Any:
        """The run's seed."""
        return self.passport.get("seed", self.config.get("seed"))

    @property
    def overrides(self) -> list[str]:
        """What the command line said."""
        return [str(item) for item in self.passport.get("overrides") or []]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All settings that shape the result but the seed, flat: "model.channels" -> 64."""
        config = dict(self.config)
        if not config:
            pairs = (item.lstrip("+").partition("=") for item in self.overrides)
            config = {key: value for key, _, value in pairs}
        kept = {key: value for key, value in config.items() if key not in NOT_SETTINGS}
        if isinstance(kept.get("trainer"), Mapping):
            kept["trainer"] = {k: v for k, v in kept["trainer"].items() if k not in NOT_TRAINER}
        flat = dict(_flat("", kept))
        if flat.get("data.seed") == json.dumps(self.seed):
            del flat["data.seed"]  # the run's own, which the stream is given
        return flat

    @property
    def choices(self) -> dict[str, str]:
        """The command line's overrides by key, without those that are no settings."""
        pairs = (item.lstrip("+").partition("=") for item in self.overrides)
        return {
            key: value
            for key, _, value in pairs
            if key.partition(".")[0] not in (*NOT_SETTINGS, "hydra")
            and key not in [f"trainer.{name}" for name in NOT_TRAINER]
        }

    @property
    def stamped(self) -> str:
        """A warning for every table made from a run whose checkpoint was chosen on test songs."""
        songs = self.passport.get("test_selection")
        if not songs:
            return ""
        return (
            f"{self.label}: CHOSEN ON TEST SONGS ({len(songs)} songs that it learned from or was "
            "chosen on are test songs, allowed by allow_test_selection): its scores are too high "
            "to be compared"
        )

    @property
    def data(self) -> str:
        """The name of the data set."""
        data = self.passport.get("data")
        return str(data.get("name", "")) if isinstance(data, Mapping) else str(data or "")

    @property
    def test_fingerprint(self) -> Any:
        """What identifies the scored songs by content; None where it wasn't recorded."""
        tested = self.passport.get("tested")
        if isinstance(tested, Mapping) and tested.get("fingerprint"):
            return tested["fingerprint"]
        data = self.passport.get("data")
        prints = data.get("fingerprint") if isinstance(data, Mapping) else None
        return prints.get("test") if isinstance(prints, Mapping) else prints

    def choice(self, key: str) -> str:
        """A setting's value: from the command line, else from the config; a dash where unset."""
        if key in self.choices:
            return self.choices[key]
        return plain_value(self.settings.get(key, self.settings.get(f"{key}._target_")))

    def fact(self, name: str) -> float:
        """A number from the passport, NaN where it is missing."""
        value = self.passport.get(name)
        return float(value) if isinstance(value, int | float) else math.nan


def open_runs(paths: Iterable[str | Path]) -> list[RunRecord]:
    """The runs in the folders named: run folders, or folders of run folders such as a sweep.

    Raises:
        UserError: A folder holds no run.
    """
    folders: list[Path] = []
    for path in map(Path, paths):
        if (path / "run.json").is_file():
            found = [path]
        else:
            found = sorted((p.parent for p in path.glob("**/run.json")), key=_natural)
        if not found:
            raise UserError(
                f"{path} holds no run (no run.json in it or under it): expected a run folder or a "
                "sweep's folder, such as the newest one under runs/"
            )
        folders += [folder for folder in found if folder not in folders]
    records = [RunRecord(f, label=n) for f, n in zip(folders, _labels(folders), strict=True)]
    keys = differing(records)
    for record in records:
        # a sweep numbers its folders: figures then say what the number stands for
        if record.label.rpartition("/")[2].isdigit() and len(records) > 1:
            parts = [*(record.choice(key) for key in keys), f"seed {record.seed}"]
            record.name = f"{record.label}: {', '.join(parts)}"
    return records


def command(record: RunRecord) -> str:
    """The command that made the run."""
    return str(record.passport.get("command") or " ".join(["python -m sepexp", *record.overrides]))


def differing(records: Sequence[RunRecord]) -> list[str]:
    """Overrides that aren't the same in all runs, in the order in which they appear."""
    keys = list(dict.fromkeys(key for record in records for key in record.choices))
    return [key for key in keys if len({record.choice(key) for record in records}) > 1]


def plain_value(text: str | None) -> str:
    """A setting's JSON as a person writes it; of a dotted path of ours, the class alone."""
    if text is None:
        return "–"
    value = json.loads(text)
    if not isinstance(value, str):
        return text
    return value.rpartition(".")[2] if value.startswith("sepexp.") else value


def read_curves(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Learning curves of a Lightning `metrics.csv`: column -> (epochs, mean value in each)."""
    found: dict[str, dict[float, list[float]]] = {}
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            epoch = _number(row.get("epoch"))
            for name, text in row.items():
                value = _number(text)
                if name in (None, "epoch", "step") or math.isnan(epoch) or math.isnan(value):
                    continue
                found.setdefault(str(name), {}).setdefault(epoch, []).append(value)
    return {
        name: (list(epochs), [sum(values) / len(values) for values in epochs.values()])
        for name, epochs in found.items()
    }


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds a {type(found).__name__}: expected an object")
    return found


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), part)
    else:
        yield prefix, json.dumps(value, sort_keys=True, default=str)


def _labels(folders: Sequence[Path]) -> list[str]:
    """The shortest endings of the paths that tell the folders apart."""
    whole = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, whole), default=1) + 1):
        names = ["/".join(parts[-depth:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Run 10 comes after run 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]
