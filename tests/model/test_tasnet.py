"""LSTM-TasNet: counts by part, the frames' norm, masks."""

from __future__ import annotations

import pytest
import torch

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.errors import UserError
from sepexp.model.tasnet import TasNet

SETTINGS = {
    "sample_rate": 8000,
    "channels": 2,
    "targets": 3,
    "bases": 12,
    "kernel": 20,
    "stride": 10,
    "layers": 4,
    "hidden": 6,
    "bidirectional": True,
    "gated": True,
    "frame_norm": True,
    "skip": True,
    "mask": "softmax",
}


def make(**changes: object) -> TasNet:
    torch.manual_seed(0)
    return TasNet(**(SETTINGS | changes)).eval()


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_counts_by_part() -> None:
    with torch.device("meta"):
        model = build.model(plain(compose(["model=tasnet"])))
    assert count(model.encoder) + count(model.gate) == 80_000
    assert count(model.norm) == 1_000
    assert count(model.lstms) == 22_032_000
    assert count(model.head) == 2_002_000
    assert count(model.decoder) == 40_000


@torch.no_grad()
def test_frame_norm_makes_the_network_scale_equivariant() -> None:
    """Only up to the 1e-8 under the root, which is what silence divides by."""
    mixture = torch.randn(1, 2, 500)
    model = make()
    loud, quiet = model(mixture).waveforms, model(0.01 * mixture).waveforms
    assert torch.allclose(0.01 * loud, quiet, rtol=1e-3, atol=1e-6)
    other = make(frame_norm=False)
    loud, quiet = other(mixture).waveforms, other(0.01 * mixture).waveforms
    assert not torch.allclose(0.01 * loud, quiet, rtol=1e-3, atol=1e-6)


@torch.no_grad()
def test_softmax_masks_sum_to_the_decoded_mixture() -> None:
    model = make()
    mixture = torch.randn(1, 2, 500)
    weights, norm = model._encode(mixture)
    assert torch.allclose(
        model(mixture).waveforms.sum(dim=1), model.decoder(weights * norm), atol=1e-5
    )


@torch.no_grad()
def test_skip_sums_pairs_of_layers() -> None:
    model = make()
    features = torch.randn(1, 12, 30)
    first, _ = model.lstms[0](features.transpose(1, 2))
    second, _ = model.lstms[1](first)
    expected = model.head(first + second).unflatten(2, (3, 12)).permute(0, 2, 3, 1).softmax(dim=1)
    assert torch.allclose(model._masks(features), expected, atol=1e-6)


@torch.no_grad()
def test_one_direction_does_not_see_the_future() -> None:
    model = make(bidirectional=False)
    mixture = torch.randn(1, 2, 1000)
    changed = mixture.clone()
    changed[..., 600:] = 0
    before, after = model(mixture).waveforms, model(changed).waveforms
    assert torch.allclose(before[..., :580], after[..., :580], atol=1e-6)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="even"):
        make(layers=3)
    with pytest.raises(UserError, match="stride"):
        make(stride=21)
    with pytest.raises(UserError, match="mask"):
        make(mask="tanh")
