"""The regression Wavenet: counts by layer, the paper's lengths, independence of the cut."""

from __future__ import annotations

import pytest
import torch

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.errors import UserError
from sepexp.model.wavenet import Wavenet

SETTINGS = {
    "sample_rate": 16000,
    "channels": 1,
    "targets": 4,
    "stacks": 2,
    "dilations": [1, 2, 4],
    "kernel": 3,
    "width": 8,
    "skip": 6,
    "final_widths": [16, 8],
    "final_kernels": [3, 3],
    "target_padding": 1,
    "residual": -1,
}


def make(**changes: object) -> Wavenet:
    torch.manual_seed(0)
    return Wavenet(**(SETTINGS | changes)).eval()


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_counts_and_lengths_of_the_published_network() -> None:
    with torch.device("meta"):
        model = build.model(plain(compose(["model=wavenet"])))
    assert count(model.first) == 192
    assert {count(block) for block in model.blocks} == {32_768}
    assert [count(layer) for layer in model.final if count(layer)] == [393_216, 1_572_864, 771]
    assert model.receptive_field() == 8185
    assert 1601 + 2 * model.context == 9785


@torch.no_grad()
def test_the_last_target_is_what_the_others_leave() -> None:
    model = make()
    mixture = torch.randn(2, 1, 100 + 2 * model.context)
    estimate = model(mixture).waveforms
    expected = mixture[..., model.context : -model.context] - estimate[:, :3].sum(dim=1)
    assert torch.allclose(estimate[:, 3], expected, atol=1e-6)


@torch.no_grad()
def test_an_estimate_depends_on_its_receptive_field_alone() -> None:
    model = make(target_padding=2, residual=None)
    torch.nn.init.normal_(model.final[-1].bias)
    mixture = torch.randn(1, 1, 101 + 2 * model.context, requires_grad=True)
    with torch.enable_grad():
        model(mixture).waveforms[..., 50].sum().backward()
    reached = mixture.grad[0, 0].nonzero()[:, 0]
    # blocks, and a sample each side for the first and the two final convolutions
    reach = model.receptive_field() // 2 + 3
    centre = model.context + 50
    assert (reached.min().item(), reached.max().item()) == (centre - reach, centre + reach)


@pytest.mark.parametrize(("target_padding", "same"), [(1, False), (2, True)])
@torch.no_grad()
def test_two_samples_of_padding_make_the_cut_invisible(target_padding: int, same: bool) -> None:
    model = make(target_padding=target_padding)
    mixture = torch.randn(1, 1, 200 + 2 * model.context)
    whole = model(mixture).waveforms[..., 30:130]
    part = model(mixture[..., 30 : 130 + 2 * model.context]).waveforms
    assert torch.allclose(part[..., 5:-5], whole[..., 5:-5], atol=1e-4) or not same
    assert torch.allclose(part, whole, atol=1e-5) == same


def test_refuses_even_kernels_and_segments_of_context() -> None:
    with pytest.raises(UserError, match="odd"):
        make(kernel=4)
    model = make()
    with pytest.raises(UserError, match="longer segments"):
        model(torch.zeros(1, 1, 2 * model.context))
