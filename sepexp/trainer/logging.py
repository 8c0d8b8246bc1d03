"""Loggers: a table that survives a resume, and wandb for those who want it."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Mapping
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only


class MetricsFile(Logger):
    """`metrics.csv`: one row a logged step, kept over resumes and always whole on the disk.

    Lightning's own CSV logger deletes what an earlier part of the run wrote. This one takes the
    earlier rows back in, up to the step that the run goes on from, because what came after them
    happens again.

    Args:
        folder: The run folder.
    """

    def __init__(self, *, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows: dict[int, dict[str, str]] | None = None

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "metrics"

    @property
    def version(self) -> str:
        """There is one file a run."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run folder's config.json holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the row of a step."""
        number = step or 0
        if self.rows is None:
            self.rows = {at: row for at, row in self._earlier().items() if at < number}
        row = self.rows.setdefault(number, {"step": str(number)})
        row.update({key: f"{value:.6g}" for key, value in metrics.items()})

    @rank_zero_only
    def save(self) -> None:
        """Write the table aside and rename it."""
        if not self.rows:
            return
        names = sorted({key for row in self.rows.values() for key in row} - {"epoch", "step"})
        aside = self.path.with_name(f".metrics.{os.getpid()}")
        aside.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", "step", *names], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows[step] for step in sorted(self.rows))
        aside.replace(self.path)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """The last rows."""
        self.save()

    def _earlier(self) -> dict[int, dict[str, str]]:
        if not self.path.is_file():
            return {}
        with self.path.open(newline="") as file:
            rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
        return {int(row["step"]): row for row in rows if row.get("step")}


def wandb_logger(*, enabled: bool, project: str, save_dir: str) -> Any:
    """A Weights & Biases logger, offline where no key is at hand; None when off.

    It never stops or blocks a run: without a key nothing is asked for and the log stays in the
    run folder (`wandb sync` sends it later); whatever else fails becomes a warning.
    """
    if not enabled:
        return None
    os.environ.setdefault("WANDB_SILENT", "true")
    offline = os.environ.get("WANDB_MODE") == "offline" or not _has_key()
    try:
        from lightning.pytorch.loggers import WandbLogger

        logger = WandbLogger(project=project, save_dir=save_dir, offline=offline)
        _ = logger.experiment
    except Exception as error:  # the network, the service and its library may fail in any way
        warnings.warn(f"wandb is left out: {error}", stacklevel=2)
        return None
    return logger


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc().authenticators("api.wandb.ai") is not None
    except (FileNotFoundError, NetrcParseError, PermissionError):
        return False
