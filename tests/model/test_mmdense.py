"""MMDenseNet and MMDenseLSTM: counts of every part, dense connections, LSTM placement, bands."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.errors import UserError
from sepexp.model.mmdense import DenseBlock, MMDense, RecurrentDenseBlock, SameConv, band_bins


def model_of(name: str, *overrides: str) -> MMDense:
    with torch.device("meta"):
        return build.model(plain(compose([f"model={name}", "targets=[vocals]", *overrides])))


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_counts_of_mmdensenet() -> None:
    network = model_of("mmdensenet").network.networks[0]
    low, high = network.bands
    assert count(low.stem) == 800
    assert [count(block) for block in low.down] == [35904, 29468, 31008]
    assert count(low.middle) == 31008
    ups = zip(low.up_norm, low.up_conv, low.up, strict=True)
    assert [count(*parts) for parts in ups] == [44400, 44400, 42860]
    assert [count(low), count(high) + count(network.match[1])] == [259848, 54878]
    assert [count(network.full), count(network.final)] == [20166, 448]
    assert [count(network.norm), count(network.gate)] == [8, 20]


@pytest.mark.parametrize(
    ("place", "bands", "full"),
    [
        ("after", [450350, 32873, 12243], 856192),
        ("before", [450126, 32834, 12243], 856073),
        ("parallel", [450364, 32873, 12243], 856199),
    ],
)
def test_counts_of_mmdenselstm(place: str, bands: list[int], full: int) -> None:
    network = model_of("mmdenselstm", f"model.lstm_place={place}").network.networks[0]
    pairs = zip(network.bands, network.match, strict=True)
    assert [count(*pair) for pair in pairs] == bands
    assert count(network.full) == full
    assert [count(network.final), count(network.norm), count(network.gate)] == [10854, 24, 52]
    total = {"after": 1370784, "before": 1370402, "parallel": 1370805}[place]
    assert count(network) == total


@torch.no_grad()
def test_a_dense_layer_reads_all_before() -> None:
    """The shared convolutions equal convolutions of the concatenation."""
    torch.manual_seed(0)
    block = DenseBlock(3, growth=2, layers=3, kernel=[3, 3], last_only=False).eval()
    maps = torch.randn(2, 3, 9, 11)
    have = [maps]
    for index in range(3):
        new = 0
        for earlier in range(index + 1):
            norm, relu, conv = block.layers[earlier]
            first = 2 * (index - earlier)
            new = new + nn.functional.conv2d(
                relu(norm(have[earlier])),
                conv.weight[first : first + 2],
                conv.bias[first : first + 2],
                padding=1,
            )
        have.append(new)
    assert torch.allclose(block(maps), torch.cat(have[1:], dim=1), atol=1e-6)
    block.last_only = True
    assert torch.allclose(block(maps), have[-1], atol=1e-6)


@pytest.mark.parametrize("place", ["after", "before", "parallel"])
@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("last_only", [True, False])
def test_lstm_places(place: str, layers: int, last_only: bool) -> None:
    block = RecurrentDenseBlock(
        3,
        freq=9,
        growth=2 if layers else 0,
        layers=layers,
        lstm=4,
        kernel=[3, 3],
        place=place,
        last_only=last_only,
    )
    output = block(torch.randn(2, 3, 9, 11))
    assert output.shape == (2, block.outputs, 9, 11)
    output.sum().backward()
    assert all(p.grad is not None for p in block.parameters())


def test_strange_place_and_uneven_blocks_are_refused() -> None:
    with pytest.raises(UserError, match="parallel"):
        model_of("mmdenselstm", "model.lstm_place=beside")
    with pytest.raises(UserError, match="odd number"):
        model_of("mmdenselstm", "model.full.growth=[7,7]")


def test_bands_fill_the_spectrum() -> None:
    assert band_bins([512, None], 1025) == [512, 513]
    with pytest.raises(UserError, match="don't fill"):
        band_bins([512, 512], 1025)
    with pytest.raises(UserError, match="don't fill"):
        band_bins([1025, None], 1025)


@torch.no_grad()
def test_prepare_brings_the_input_to_unit_size() -> None:
    torch.manual_seed(0)
    overrides = ["model=mmdensenet", "targets=[vocals]", "model.n_fft=128", "model.hop=64"]
    model = build.model(plain(compose([*overrides, "model.bands.low.bins=20"])))
    mixture = 0.01 * torch.randn(1, 6000).expand(2, -1)
    model.prepare([(mixture, mixture[None])])
    network = model.network.networks[0]
    magnitude = model.analyse(mixture)
    standard = (magnitude - network.shift_in) / network.scale_in
    assert standard.mean().abs() < 0.01
    assert abs(standard.std() - 1) < 0.01
    assert torch.equal(network.scale_out, network.scale_in)


@torch.no_grad()
@pytest.mark.parametrize("kernel", [[4, 3], [2, 1], [3, 3]])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_convolution(kernel: list[int], dilation: int) -> None:
    conv = SameConv(2, 3, kernel, dilation=dilation)
    maps = torch.randn(1, 2, 9, 11)
    expected = nn.functional.conv2d(maps, conv.weight, conv.bias, padding="same", dilation=dilation)
    assert torch.allclose(conv(maps), expected, atol=1e-6)
