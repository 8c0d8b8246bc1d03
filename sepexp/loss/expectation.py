"""The expected error over the codes of a magbook, phasebook or combook (arXiv 1810.01395)."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from sepexp.errors import UserError
from sepexp.separation import Separation

BOOKS = ("magnitude", "angle", "pair")


class ExpectedError(nn.Module):
    """Sum over codes of their probability times the error that this code alone would make.

    The loss of the mean code rewards hedging between codes, this one rewards being right: it is
    smallest with all probability on the best code. Books are taken as independent.

    Args:
        power: 1 for the absolute, 2 for the squared error of the complex spectrum.

    Raises:
        UserError: The model has no code books.
    """

    needs_spectra = True
    needs_waveforms = False

    def __init__(self, *, power: int) -> None:
        super().__init__()
        self.power = power

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        extras = estimate.extras or {}
        books = [name for name in BOOKS if f"choice_{name}" in extras]
        if not books or truth.spectra is None:
            raise UserError(
                "the loss expected_error needs a model with code books: choose model=magbook, "
                "phasebook or combook, or another loss"
            )
        spectrum = extras["mixture"][:, None]
        total = torch.zeros_like(truth.spectra.real)
        sizes = [range(len(extras[f"codes_{name}"])) for name in books]
        for indices in product(*sizes):
            code: Tensor | float = 1.0
            chance: Tensor | float = 1.0
            for name, index in zip(books, indices, strict=True):
                code = code * extras[f"codes_{name}"][index]
                chance = chance * extras[f"choice_{name}"][:, :, :, index]
            error = code * spectrum - truth.spectra
            square = error.real.square() + error.imag.square()
            total = total + chance * (square if self.power == 2 else (square + 1e-14).sqrt())
        return total.flatten(2).mean(-1)
