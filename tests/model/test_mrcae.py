"""MRCAE: counts by layer, the spectral product against plain convolutions, overlap-add."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.errors import UserError
from sepexp.model.mrcae import MRCAE, FilterSets, fast_length


def make(**changes: object) -> MRCAE:
    settings = {"frame": 65, "hop": 16, "kernels": [4, 9, 65], "filters": 3, "layers": 2}
    settings |= {"output_kernel": 65, "output_gain": 1.0} | changes
    torch.manual_seed(0)
    return MRCAE(sample_rate=44100, channels=2, targets=3, **settings).eval()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_counts_by_layer() -> None:
    with torch.device("meta"):
        model = build.model(plain(compose(["model=mrcae", "targets=[vocals]"])))
    layers = [count(model.network[i]) + count(model.network[i + 1]) for i in range(0, 12, 3)]
    assert layers == [37_110, 924_150, 924_150, 924_150]
    assert count(model.network[-1]) == 102_502


@pytest.mark.parametrize("samples", [64, 65])
@torch.no_grad()
def test_the_product_of_spectra_is_a_bank_of_convolutions(samples: int) -> None:
    """Even lengths too, and filters as long as the frame: nothing wraps around."""
    torch.manual_seed(0)
    layer = FilterSets(2, 3, [1, 4, 9, 65], samples)
    features = torch.randn(5, 2, samples)
    expected = torch.cat([conv(_same(features, conv)) for conv in layer.sets], dim=1)
    assert torch.allclose(layer(features), expected, atol=1e-5)


def _same(features: torch.Tensor, conv: nn.Conv1d) -> torch.Tensor:
    taps = conv.kernel_size[0]
    return F.pad(features, ((taps - 1) // 2, taps - 1 - (taps - 1) // 2))


@pytest.mark.parametrize("samples", [700, 64, 1, 33])
@torch.no_grad()
def test_overlapped_frames_of_an_identity_give_the_mixture_back(samples: int) -> None:
    model = make(layers=0)
    (identity,) = model.network[0].sets
    nn.init.zeros_(identity.weight)
    nn.init.zeros_(identity.bias)
    for target in range(3):
        for channel in range(2):
            identity.weight[2 * target + channel, channel, 32] = target + 1
    mixture = torch.randn(2, 2, samples)
    estimate = model(mixture).waveforms
    for target in range(3):
        assert torch.allclose(estimate[:, target], (target + 1) * mixture, atol=1e-4)


def test_fast_length() -> None:
    assert [fast_length(length) for length in (1, 7, 11, 13, 1537)] == [1, 8, 12, 15, 1600]


def test_hops_beyond_half_a_frame_are_refused() -> None:
    with pytest.raises(UserError, match="hop"):
        make(hop=40)
