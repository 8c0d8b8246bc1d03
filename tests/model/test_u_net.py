"""Spectrogram U-Nets: layer counts, mirrored sizes, heads, volumes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sepexp.model.u_net import SpectrogramUNet, living_relu
from sepexp.nn.u_net import UNet
from sepexp.nn.wiener import Wiener


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def build(targets: int = 2, *, mask: bool = True, shared: bool = True) -> SpectrogramUNet:
    torch.manual_seed(0)
    return SpectrogramUNet(
        sample_rate=8000,
        channels=2,
        targets=targets,
        n_fft=128,
        hop=32,
        widths=[4, 6, 8],
        kernel=5,
        dropout=0.5,
        mask=mask,
        shared=shared,
        wiener=Wiener(targets=targets, iterations=0, softmask=False, residual=False, window=None),
    )


def test_counts_of_each_layer() -> None:
    with torch.device("meta"):
        net = UNet(inputs=1, outputs=1, widths=[16, 32, 64, 128, 256, 512], kernel=5, dropout=0.5)
    assert [count(level) for level in net.encoder] == [448, 12896, 51392, 205184, 819968, 3278336]
    expected = [3277568, 1638784, 409792, 102496, 25648, 801]
    assert [count(level) for level in net.decoder] == expected
    assert sum(isinstance(layer, nn.Dropout) for layer in net.decoder.modules()) == 3


@pytest.mark.parametrize("sizes", [(64, 64), (65, 33), (7, 1)])
def test_output_has_the_input_size(sizes: tuple[int, int]) -> None:
    net = UNet(inputs=2, outputs=3, widths=[4, 6, 8], kernel=5, dropout=0.0)
    assert net(torch.randn(2, 2, *sizes)).shape == (2, 3, *sizes)


@torch.no_grad()
def test_padding_is_the_networks_own() -> None:
    """What is padded inside equals zeros given from outside."""
    net = UNet(inputs=1, outputs=1, widths=[4, 6, 8], kernel=5, dropout=0.0).eval()
    maps = torch.randn(1, 1, 13, 21)
    padded = nn.functional.pad(maps, (0, 3, 0, 3))
    assert torch.allclose(net(maps), net(padded)[..., :13, :21], atol=1e-6)


def fill_last(model: SpectrogramUNet, value: float) -> None:
    """Make every network's last layer say one number everywhere."""
    for net in model.modules():
        if isinstance(net, UNet):
            net.decoder[-1].weight.data.zero_()
            net.decoder[-1].bias.data.fill_(value)


@torch.no_grad()
@pytest.mark.parametrize("shared", [True, False])
def test_an_open_mask_returns_the_mixture(shared: bool) -> None:
    model = build(shared=shared).eval()
    fill_last(model, 30.0)
    mixture = torch.randn(2, 2, 1001)
    assert torch.allclose(model(mixture).waveforms[:, 1], mixture, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("mask", [True, False])
def test_estimates_follow_the_mixtures_level(mask: bool) -> None:
    model = build(mask=mask).eval()
    mixture = torch.randn(1, 2, 1001)
    loud, soft = model(mixture).waveforms, model(0.01 * mixture).waveforms
    assert loud.abs().max() > 0
    assert torch.allclose(0.01 * loud, soft, atol=1e-5 * loud.abs().max().item())


def test_volumes_of_the_training_songs() -> None:
    model = build()
    tracks: list[tuple[Tensor, Tensor]] = []
    for seed in range(2):
        torch.manual_seed(seed)
        targets = torch.randn(2, 2, 2000) * torch.tensor([1.0, 0.1])[:, None, None]
        tracks.append((targets.sum(0), targets))
    model.prepare(tracks)
    expected = torch.stack([model.analyse(t).mean((1, 2, 3)) for _, t in tracks]).mean(0)
    assert torch.allclose(model.volume, expected, rtol=1e-5)
    assert torch.equal(model(torch.randn(3, 2, 500)).extras["volume"], model.volume.expand(3, -1))
    assert "volume" in model.state_dict()


def test_magnitudes_are_positive_parts_whose_gradient_lives() -> None:
    values = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    parts = living_relu(values)
    assert parts.tolist() == [0.0, 0.0, 3.0]
    parts.sum().backward()
    assert values.grad is not None and torch.allclose(values.grad, torch.tensor([0.1, 0.1, 1.0]))
