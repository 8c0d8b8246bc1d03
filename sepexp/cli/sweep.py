"""One table after a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepTable(Callback):
    """Print, and write into the sweep's folder, one table over its runs."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Gather what the runs of this sweep scored."""
        folder = Path(config.hydra.sweep.dir)
        runs = sorted(path.parent for path in folder.glob("**/run.json"))
        if not runs:
            return
        from sepexp.report.table import sweep_table
        from sepexp.run import write_text

        text = sweep_table(runs)
        write_text(folder / "table.md", text)
        print(f"\n{text}\n\nwritten to {folder / 'table.md'}")
