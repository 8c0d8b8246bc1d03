"""Early stopping, where a patience is given."""

from __future__ import annotations

from lightning.pytorch.callbacks import EarlyStopping


def early_stopping(*, monitor: str, mode: str, patience: int | None) -> EarlyStopping | None:
    """A callback that ends a run after `patience` validations without a better score.

    A score of NaN counts as no better one instead of ending the run; None without a patience.
    """
    if patience is None:
        return None
    return EarlyStopping(monitor=monitor, mode=mode, patience=patience, check_finite=False)
