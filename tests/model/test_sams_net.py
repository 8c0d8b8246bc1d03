"""Sams-Net: counts of the reconstruction, attention between frames, standardisation."""

from __future__ import annotations

import torch
from torch import nn

from sepexp.model.sams_net import SamsNet, SlicedAttention, SlicedAttentionNetwork
from sepexp.nn.wiener import Wiener


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def build(targets: int = 2, **changes: object) -> SamsNet:
    torch.manual_seed(0)
    settings = {
        "sample_rate": 8000,
        "channels": 2,
        "n_fft": 64,
        "hop": 32,
        "width": 8,
        "slices": 2,
        "blocks": 1,
        "bounded": True,
    }
    wiener = Wiener(targets=targets, iterations=0, softmask=False, residual=False, window=None)
    return SamsNet(targets=targets, wiener=wiener, **settings | changes)


def test_counts_of_each_layer() -> None:
    with torch.device("meta"):
        net = SlicedAttentionNetwork(channels=2, width=64, slices=4, blocks=10)
    assert count(net.stem) == 3264
    assert [count(block) for block in net.blocks] == [90752] * 10
    assert count(net.head) == 24592 + 34
    assert count(net) == 935410


@torch.no_grad()
def test_attention_reaches_every_frame() -> None:
    torch.manual_seed(0)
    block = SlicedAttention(8, 2).eval()
    maps = torch.randn(1, 8, 4, 30)
    other = maps.clone()
    other[..., 0] += 3
    changed = (block(maps) - block(other)).abs().amax((0, 1, 2))
    assert (changed > 1e-6).all()


@torch.no_grad()
def test_slices_are_heads() -> None:
    """Each head equals attention written out on its slice of the maps."""
    torch.manual_seed(0)
    block = SlicedAttention(8, 2).eval()
    maps = torch.randn(1, 8, 4, 9)
    query, key, value = (f(maps)[0] for f in (block.query, block.key, block.value))
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        q, k, v = (x[part].flatten(0, 1).T for x in (query, key, value))  # (frames, 16)
        heads.append(((q @ k.T / 4).softmax(-1) @ v).T.unflatten(0, (4, 4)))
    after = block.attention_norm(maps + block.output(torch.cat(heads)[None]))
    assert torch.allclose(block(maps), block.conv_norm(after + block.convs(after)), atol=1e-5)


@torch.no_grad()
def test_prepare_standardises_log_magnitudes() -> None:
    model = build()
    mixture = torch.randn(2, 5000)
    model.prepare([(mixture, mixture[None])])
    features = model.analyse(mixture).log1p().mean(0)
    assert torch.allclose(model.mean[:, 0], features.mean(-1), atol=1e-5)
    assert torch.allclose(model.deviation[:, 0], features.std(-1, correction=0), atol=1e-5)
    assert {"mean", "deviation"} <= set(model.state_dict())


@torch.no_grad()
def test_an_open_mask_returns_the_mixture() -> None:
    model = build(bounded=False).eval()
    for network in model.network.networks:
        network.head[-1].weight.zero_()
        network.head[-1].bias.fill_(1.0)
    mixture = torch.randn(2, 2, 1001)
    assert torch.allclose(model(mixture).waveforms[:, 0], mixture, atol=1e-5)
