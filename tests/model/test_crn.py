"""The CRN: layer counts, sizes that mirror, grouped LSTMs, compression."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sepexp.errors import UserError
from sepexp.model.crn import CRN, GroupedLSTM, compress


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def build(**changes: object) -> CRN:
    torch.manual_seed(0)
    settings = {
        "sample_rate": 16000,
        "channels": 1,
        "targets": 1,
        "n_fft": 320,
        "hop": 160,
        "widths": [16, 32, 64, 128, 256],
        "gated": False,
        "hidden": 1024,
        "groups": 2,
        "layers": 2,
        "bidirectional": False,
        "compression": 1.0,
    }
    return CRN(**settings | changes)


SMALL = {"n_fft": 64, "hop": 32, "widths": [4, 6], "hidden": 16}


@pytest.mark.parametrize("gated", [False, True])
def test_counts_of_each_layer(gated: bool) -> None:
    with torch.device("meta"):
        model = build(gated=gated)
    convs = [112, 1568, 6208, 24704, 98560]
    times = 2 if gated else 1
    norms = [32, 64, 128, 256, 512]
    expected = [times * conv + norm for conv, norm in zip(convs, norms, strict=True)]
    assert [count(level) for level in model.encoder] == expected
    assert count(model.recurrent) == 8409088
    for decoder in model.decoders:
        assert count(decoder.convs, decoder.norms) == (523396 if gated else 261939)
        assert count(decoder.linear) == 26082


@pytest.mark.parametrize(("groups", "expected"), [(1, 17501786), (2, 9117274), (4, 4922970)])
def test_counts_of_groups(groups: int, expected: int) -> None:
    with torch.device("meta"):
        assert count(build(groups=groups)) == expected


@torch.no_grad()
@pytest.mark.parametrize("n_fft", [64, 66, 68, 70])
def test_decoders_give_back_every_number_of_bins(n_fft: int) -> None:
    model = build(**SMALL | {"n_fft": n_fft}, targets=2, channels=2)
    estimate = model(torch.randn(2, 2, 701))
    assert estimate.waveforms.shape == (2, 2, 2, 701)
    assert estimate.spectra.shape[-2] == n_fft // 2 + 1


@torch.no_grad()
def test_the_network_is_causal_between_frames() -> None:
    model = build(**SMALL).eval()
    mixture = torch.randn(1, 1, 1600)
    other = mixture.clone()
    other[..., 1000:] += 1
    first, second = (model(x).spectra for x in (mixture, other))
    changed = (first - second).abs().amax((0, 1, 2, 3)) > 1e-6
    assert not changed[: (1000 - 32) // 32].any()
    assert changed[1000 // 32 + 2 :].all()


@torch.no_grad()
def test_groups_meet_between_layers() -> None:
    torch.manual_seed(0)
    maps = torch.randn(1, 2, 5, 8)
    other = maps.clone()
    other[:, 0] += 1  # what the first group reads
    for layers, meets in ((1, False), (2, True)):
        block = GroupedLSTM(features=16, hidden=16, groups=2, layers=layers, bidirectional=False)
        for layer in block.layers:
            layer.norm = nn.Identity()  # it would mix the groups too
        changed = (block(maps) - block(other)).abs().amax((0, 2, 3)) > 1e-6
        assert changed.tolist() == [True, meets]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="n_fft=16"):
        build(n_fft=16, hop=8)
    with pytest.raises(UserError, match="multiple"):
        build(**SMALL | {"hidden": 18}, groups=4)


def test_compression() -> None:
    spectrum = torch.tensor([3 + 4j, -0.25 + 0j, 1j])
    small = compress(spectrum, 0.5)
    assert torch.allclose(small.abs(), torch.tensor([5.0, 0.25, 1.0]).sqrt(), atol=1e-5)
    assert torch.allclose(small.angle(), spectrum.angle(), atol=1e-6)
    assert torch.allclose(compress(small, 2.0), spectrum, atol=1e-5)
    silence = torch.zeros(3, dtype=torch.complex64, requires_grad=True)
    compress(silence, 2.0).abs().square().sum().backward()
    assert torch.isfinite(silence.grad.abs()).all()
