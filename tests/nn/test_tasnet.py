"""The temporal blocks' own gradients against those of torch, and what they keep."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepexp.nn import tasnet
from sepexp.nn.tasnet import ActivateNorm, Depthwise, TemporalBlock

SIZES = {"width": 6, "hidden": 8, "norm": "gln", "causal": False, "residual": True}


def block(**changes: object) -> TemporalBlock:
    torch.manual_seed(0)
    settings = SIZES | {"kernel": 3, "dilation": 4, "skip": 5, "bias": True} | changes
    made = TemporalBlock(**settings).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def gradients(made: TemporalBlock, features: Tensor) -> list[Tensor]:
    """Of everything that the block has and reads, for outputs that all count differently."""
    outputs = [output for output in made(features) if output is not None]
    weighted = sum((o * torch.arange(o.numel()).view_as(o).cos()).sum() for o in outputs)
    return list(torch.autograd.grad(weighted, [features, *made.parameters()]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dilation": 64},  # further than there are frames
        {"kernel": 4, "dilation": 3},
        {"kernel": 1},
        {"skip": 0},
        {"residual": False},
        {"bias": False},
        {"norm": "cln", "causal": True},
        {"norm": "bn"},
        {"norm": "none"},
    ],
)
def test_gradients_are_torchs(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    made = block(**changes)
    features = torch.randn(2, 6, 50, dtype=torch.float64, requires_grad=True)
    ours = gradients(made, features)
    monkeypatch.setattr(tasnet, "by_hand", lambda features: False)
    for mine, torchs in zip(ours, gradients(made, features), strict=True):
        assert torch.allclose(mine, torchs, rtol=1e-9, atol=1e-9)


def test_gradients_are_differences() -> None:
    torch.manual_seed(0)
    values = [torch.randn(size, dtype=torch.float64) for size in ((2, 3, 9), (1,), (3,), (3,))]
    assert torch.autograd.gradcheck(ActivateNorm.apply, [v.requires_grad_() for v in values])
    values = [torch.randn(size, dtype=torch.float64) for size in ((2, 3, 9), (3, 1, 3), (3,))]
    inputs = [value.requires_grad_() for value in values]
    assert torch.autograd.gradcheck(lambda *v: Depthwise.apply(*v, 2, (2, 2)), inputs)


def test_norms_gradient_keeps_one_large_tensor() -> None:
    """Torch's two steps keep the norm's input, too."""
    made = block()
    features = torch.randn(2, 6, 50, dtype=torch.float64, requires_grad=True)
    hidden = made.expand[0](features)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        tasnet.activate(hidden, *made.activate)
    assert [tensor.data_ptr() for tensor in kept if tensor.numel() == hidden.numel()] == [
        hidden.data_ptr()
    ]


def test_values_are_the_same_with_and_without_a_gradient() -> None:
    made = block()
    features = torch.randn(2, 6, 50, dtype=torch.float64)
    with torch.no_grad():
        still = made(features)
    for with_gradient, without in zip(made(features.requires_grad_()), still, strict=True):
        assert torch.allclose(with_gradient, without, atol=1e-12)
