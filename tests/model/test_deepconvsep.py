"""DeepConvSep: layer counts, tied decoder, masks over overlapping patches."""

from __future__ import annotations

import pytest
import torch

from sepexp.model.deepconvsep import DeepConvSep
from sepexp.nn.wiener import Wiener


def build(**changes: object) -> DeepConvSep:
    torch.manual_seed(0)
    settings = {
        "sample_rate": 8000,
        "channels": 1,
        "targets": 4,
        "n_fft": 64,
        "hop": 32,
        "scale": 0.3,
        "frames": 12,
        "step": 5,
        "spectral": 6,
        "temporal": 5,
        "kernel": 6,
        "bottleneck": 16,
        "tied": True,
        "wiener": Wiener(targets=4, iterations=0, softmask=False, residual=False, window=None),
    }
    return DeepConvSep(**settings | changes)


PAPER = {"n_fft": 1024, "hop": 512, "frames": 25, "spectral": 50, "temporal": 30, "kernel": 12}


def count(*parts: torch.Tensor | torch.nn.Module) -> int:
    return sum(
        part.numel()
        if isinstance(part, torch.Tensor)
        else sum(p.numel() for p in part.parameters())
        for part in parts
    )


def test_counts_of_each_layer() -> None:
    with torch.device("meta"):
        net = build(**PAPER, bottleneck=128).network
    assert count(net.spectral, net.spectral_bias) == 25750
    assert count(net.temporal, net.temporal_bias) == 18060
    assert count(net.bottleneck) == 53888
    assert count(net.dense) == 4 * 54180
    assert count(net.bias) == 4
    assert count(net) == 314422


def test_count_at_the_repositorys_size() -> None:
    with torch.device("meta"):
        net = build(**PAPER | {"frames": 30, "temporal": 50, "kernel": 15}, bottleneck=128).network
    assert count(net) == 578682


@torch.no_grad()
def test_tied_decoder_is_the_encoder_transposed() -> None:
    """<encode(x), y> = <x, decode(y)> for the linear parts."""
    net = build().network
    for parameter in (net.spectral.bias, net.temporal.bias):
        parameter.zero_()
    patches = torch.randn(2, 1, 12, 33)
    coded = torch.randn(2, 5, 7, 1)
    left = (net.temporal(net.spectral(patches)) * coded).sum()
    right = (patches * net.decode(coded)).sum()
    assert torch.allclose(left, right, rtol=1e-4)
    untied = build(tied=False).network
    assert count(untied) > count(net)
    assert untied.decode(coded).shape == (2, 1, 12, 33)


@torch.no_grad()
@pytest.mark.parametrize("time", [1, 12, 13, 40])
@pytest.mark.parametrize("step", [5, 12])
def test_masks_add_up_to_one(time: int, step: int) -> None:
    masks = build(step=step).masks(torch.rand(2, 1, 33, time))
    assert masks.shape == (2, 4, 1, 33, time)
    assert masks.min() >= 0
    assert torch.allclose(masks.sum(1), torch.ones(2, 1, 33, time), atol=1e-5)


@torch.no_grad()
def test_one_patch_is_the_network_itself() -> None:
    model = build()
    magnitude = torch.rand(1, 1, 33, 12)
    outputs = model.network(magnitude.mT * model.scale) + 1e-8
    expected = (outputs / outputs.sum(1, keepdim=True)).mT[:, :, None]
    assert torch.allclose(model.masks(magnitude), expected, atol=1e-5)


@torch.no_grad()
def test_silence_is_shared_evenly() -> None:
    model = build()
    model.network.bias.fill_(-1.0)
    assert torch.allclose(model.masks(torch.zeros(1, 1, 33, 12)), torch.tensor(0.25))
