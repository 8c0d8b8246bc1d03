"""DRNN: counts of its kinds, masks that add up to one, recurrence, context."""

from __future__ import annotations

import pytest
import torch

from sepexp.model.drnn import DRNN, RecurrentLayer, abs_mask, linear_mask, square_mask
from sepexp.nn.wiener import Wiener


def build(**changes: object) -> DRNN:
    torch.manual_seed(0)
    targets = int(changes.get("targets", 2))
    settings = {
        "sample_rate": 16000,
        "channels": 1,
        "targets": targets,
        "n_fft": 64,
        "hop": 32,
        "frames": 3,
        "hidden": 16,
        "layers": 3,
        "recurrent": [2],
        "mask": abs_mask,
        "wiener": Wiener(
            targets=targets, iterations=0, softmask=False, residual=False, window=None
        ),
    }
    return DRNN(**settings | changes)


def trainable(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("recurrent", "expected"), [([], 4569026), ([2], 5569026), ([1, 2, 3], 7569026)]
)
def test_counts_of_the_kinds(recurrent: list[int], expected: int) -> None:
    with torch.device("meta"):
        model = build(n_fft=1024, hop=512, hidden=1000, recurrent=recurrent)
    assert trainable(model) == expected


def test_counts_of_each_layer() -> None:
    with torch.device("meta"):
        model = build(n_fft=1024, hop=512, hidden=1000)
    expected = [1540000, 2001000, 1001000, 1027026]
    assert [trainable(layer) for layer in model.layers] == expected


def test_count_at_another_size() -> None:
    with torch.device("meta"):
        model = build(targets=4, n_fft=2048, hop=1024, hidden=1000)
    assert trainable(model) == 10182100


@pytest.mark.parametrize("mask", [linear_mask, abs_mask, square_mask])
def test_masks_add_up_to_one(mask: object) -> None:
    outputs = torch.randn(2, 3, 1, 5, 7, dtype=torch.float64)
    outputs[0] = 0
    outputs.requires_grad_()
    masks = mask(outputs)
    assert torch.allclose(masks.sum(1), torch.ones_like(masks[:, 0]), atol=1e-9)
    assert torch.allclose(masks[0], torch.full_like(masks[0], 1 / 3))
    masks.square().sum().backward()
    assert torch.isfinite(outputs.grad).all()


def test_mask_values() -> None:
    outputs = torch.tensor([[3.0, -1.0]])
    assert torch.allclose(abs_mask(outputs), torch.tensor([[0.75, 0.25]]), atol=1e-4)
    assert torch.allclose(square_mask(outputs), torch.tensor([[0.9, 0.1]]), atol=1e-4)
    assert torch.allclose(linear_mask(outputs), torch.tensor([[1.5, -0.5]]), atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("mask", [abs_mask, square_mask])
def test_estimates_add_up_to_the_mixture(mask: object) -> None:
    mixture = torch.randn(2, 1, 1003)
    estimate = build(mask=mask)(mixture)
    assert torch.allclose(estimate.waveforms.sum(1), mixture, atol=1e-5)


@torch.no_grad()
def test_recurrence_is_the_written_one() -> None:
    torch.manual_seed(0)
    recurrent = RecurrentLayer(5, 4)
    layer = recurrent.rnn
    features = torch.randn(6, 2, 5)
    hidden = torch.zeros(2, 4)
    for time, output in enumerate(recurrent(features)):
        own = features[time] @ layer.weight_ih_l0.T + layer.bias_ih_l0
        hidden = torch.relu(own + hidden @ layer.weight_hh_l0.T)
        assert torch.allclose(output, hidden, atol=1e-6)
    assert not layer.bias_hh_l0.requires_grad and not layer.bias_hh_l0.any()


@torch.no_grad()
def test_context_is_one_frame_each_side() -> None:
    model = build(recurrent=[])
    magnitude = torch.rand(1, 1, 33, 9)
    other = magnitude.clone()
    other[..., 6] += 1
    changed = (model.masks(magnitude) - model.masks(other)).abs().amax((0, 1, 2, 3)) > 1e-6
    assert changed.nonzero().flatten().tolist() == [5, 6, 7]


@torch.no_grad()
def test_channels_pass_alone() -> None:
    mono, stereo = build(), build(channels=2)
    mixture = torch.randn(1, 2, 800)
    both = stereo(mixture).waveforms[0]
    for channel in range(2):
        alone = mono(mixture[:, channel : channel + 1]).waveforms[0, :, 0]
        assert torch.allclose(both[:, channel], alone, atol=1e-5)
