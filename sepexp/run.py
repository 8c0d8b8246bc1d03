"""The run folder and its passport: what was run, on what, with what, and how far it came."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sepexp.errors import UserError

PACKAGES = ("sepexp", "torch", "torchaudio", "lightning", "hydra-core", "numpy", "museval", "musdb")
# what may change between the parts of one run without making it another experiment
VOLATILE = ("folder", "resume", "metric", "runs", "allow_test_selection")
LIMITS = ("max_epochs", "max_steps", "max_time", "devices", "num_nodes", "enable_progress_bar")


def write_text(path: Path, text: str) -> None:
    """Write a file aside and rename it, so that nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def identity(config: Mapping[str, Any]) -> str:
    """A short name for an experiment: a hash of all settings that shape its result."""
    kept = {key: value for key, value in config.items() if key not in VOLATILE}
    kept["trainer"] = {k: v for k, v in kept.get("trainer", {}).items() if k not in LIMITS}
    text = json.dumps(kept, sort_keys=True, default=str)
    folder = config.get("folder")
    # callbacks and loggers are told the folder; a resumed run may lie in another one
    text = text.replace(json.dumps(str(folder))[1:-1], "") if folder else text
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Run:
    """A folder that explains itself: config, passport, checkpoints, scores, audio, figures.

    Args:
        folder: Where it is, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def passport_path(self) -> Path:
        """`run.json`."""
        return self.folder / "run.json"

    @property
    def last_checkpoint(self) -> Path:
        """The newest state of the training."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The best state by the monitored number, or the last where no validation ran."""
        best = self.folder / "checkpoints" / "best.ckpt"
        return best if best.is_file() else self.last_checkpoint

    def passport(self) -> dict[str, Any]:
        """What `run.json` says; empty where there is none.

        Raises:
            UserError: The file can't be read.
        """
        if not self.passport_path.is_file():
            return {}
        try:
            found = json.loads(self.passport_path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{self.passport_path} can't be read: {error}") from None
        return dict(found)

    def note(self, **facts: Any) -> None:
        """Add facts to the passport."""
        merged = self.passport() | facts
        write_text(self.passport_path, json.dumps(merged, indent=2, default=str) + "\n")

    def open(self, config: Mapping[str, Any], overrides: Iterable[str], *, resumes: bool) -> None:
        """Begin, or go on with, a run here.

        Raises:
            UserError: The folder already holds a run and this one doesn't resume it.
        """
        earlier = self.passport()
        if earlier and not resumes:
            raise UserError(
                f"{self.folder} already holds the {earlier.get('status', 'unknown')} run "
                f"{earlier.get('id', '?')}: resume=auto goes on with it if the config is the same, "
                "or choose another folder with hydra.run.dir=..."
            )
        write_text(self.folder / "config.json", json.dumps(config, indent=2) + "\n")
        self.note(
            id=identity(config),
            status="running",
            started=earlier.get("started", now()),
            finished=None,
            command=" ".join(["python -m sepexp", *overrides]),
            overrides=list(overrides),
            seed=config["seed"],
            commit=commit(),
            versions=versions(),
            hardware=hardware(),
        )


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def open_run(folder: str | Path) -> Run:
    """An existing run.

    Raises:
        UserError: There is no run in the folder.
    """
    run = Run(Path(folder))
    if not run.passport_path.is_file():
        raise UserError(
            f"{folder} is no run folder (it has no run.json): expected a folder that "
            "`python -m sepexp ...` made, such as the newest one under runs/"
        )
    return run


def find_resumable(config: Mapping[str, Any], root: Path, here: Path) -> Run | None:
    """The newest run of the same experiment that has a checkpoint: this folder's own first."""
    wanted = identity(config)
    candidates = sorted(root.glob("**/run.json"), key=lambda path: -path.stat().st_mtime)
    for path in [here / "run.json", *candidates]:
        run = Run(path.parent)
        if path.is_file() and run.passport().get("id") == wanted:
            if run.last_checkpoint.is_file():
                return run
            if path.parent == here:
                return run
    return None


def commit() -> str:
    """The commit of the code, with `+changes` where the tree differs; empty outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        ask = ["git", "-C", str(root)]
        head = subprocess.run(
            [*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
        dirty = subprocess.run(
            [*ask, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


def versions() -> dict[str, str]:
    """Python's version and those of the packages that shape a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores and accelerators."""
    facts: dict[str, Any] = {"system": platform.platform(), "cores": os.cpu_count()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        count = torch.cuda.device_count()
        facts["gpus"] = [torch.cuda.get_device_name(index) for index in range(count)]
    return facts
