"""Wave-U-Net: counts block by block, the paper's lengths, alignment, extensions."""

from __future__ import annotations

import pytest
import torch

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.errors import UserError
from sepexp.model.wave_u_net import UPSAMPLING, Interpolator, Recurrence, WaveUNet

SETTINGS = {
    "sample_rate": 22050,
    "channels": 2,
    "targets": 4,
    "levels": 3,
    "width": 4,
    "down_kernel": 15,
    "up_kernel": 5,
    "padding": "valid",
    "upsampling": "linear",
    "residual": 0,
    "output_activation": "tanh",
    "slope": 0.2,
    "condition": "none",
    "lstm": 0,
    "dilations": [],
    "growth": 3,
    "dense_kernel": 5,
    "wavelet": None,
}


def make(**changes: object) -> WaveUNet:
    torch.manual_seed(0)
    return WaveUNet(**(SETTINGS | changes)).eval()


def published(*overrides: str) -> WaveUNet:
    with torch.device("meta"):
        return build.model(plain(compose(overrides)))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_counts_block_by_block() -> None:
    model = published("model=wave_u_net")
    down = [744, 17_328, 51_912, 103_776, 172_920, 259_344]
    down += [363_048, 484_032, 622_296, 777_840, 950_664, 1_140_768]
    up = [864_288, 728_904, 605_040, 492_696, 391_872, 302_568]
    up += [224_784, 158_520, 103_776, 60_552, 28_848, 8_664]
    assert [count(level) for level in model.down] == down
    assert count(model.bottleneck) == 1_348_152
    assert [count(level) for level in model.up] == up
    assert count(model.head) == 3 * 54


def test_counts_of_the_extensions() -> None:
    wavelet = published("model=wave_u_net_dwt")
    assert sum(count(level) for level in wavelet.down) == 9_886_752
    assert count(wavelet.bottleneck) == 2_695_992
    assert count(published("model=wave_u_net_m5").interpolators) == 2_160
    for hidden, recurrent, projection in ((156, 586_560, 97_656), (312, 1_562_496, 195_000)):
        layer = Recurrence(312, hidden)
        assert (count(layer.lstm), count(layer.linear)) == (recurrent, projection)


@pytest.mark.parametrize(
    ("wanted", "frames", "read", "estimated"),
    [(16_384, 9, 147_443, 16_389), (102_400, 30, 233_459, 102_405)],  # M3 to M6; M7
)
def test_published_lengths(wanted: int, frames: int, read: int, estimated: int) -> None:
    with torch.device("meta"):
        model = make(levels=12)
    assert model.lengths(frames) == (read, estimated)
    assert model.context == (read - estimated) // 2 == 65_527
    assert model.fitting(wanted) == model.fitting(estimated) == read
    assert model.fitting(estimated + 1) == read + 4096


@pytest.mark.parametrize("upsampling", UPSAMPLING)
@torch.no_grad()
def test_valid_estimates_do_not_depend_on_where_a_segment_was_cut(upsampling: str) -> None:
    """No padding: a segment inside another gets the same estimates at the same places."""
    model = make(upsampling=upsampling)
    _, longer = model.lengths(55)
    _, shorter = model.lengths(30)
    mixture = torch.randn(1, 2, longer + 2 * model.context)
    whole = model(mixture).waveforms
    start = 40  # a multiple of the decimation
    part = model(mixture[..., start : start + shorter + 2 * model.context]).waveforms
    assert torch.allclose(part, whole[..., start : start + shorter], atol=1e-5)


@pytest.mark.parametrize("upsampling", UPSAMPLING)
@torch.no_grad()
def test_every_upsampling_keeps_the_length_with_padded_edges(upsampling: str) -> None:
    model = make(upsampling=upsampling, padding="same")
    assert model(torch.randn(1, 2, 201)).waveforms.shape == (1, 4, 2, 201)


@torch.no_grad()
def test_difference_output_sums_to_the_mixture() -> None:
    model = make(residual=0)
    mixture = torch.randn(2, 2, 300 + 2 * model.context)
    total = model(mixture).waveforms.sum(dim=1)
    assert torch.allclose(total, mixture[..., model.context : -model.context], atol=1e-5)


@torch.no_grad()
def test_every_target_is_bounded_but_the_residual() -> None:
    model = make(residual=1)
    loud = 100 * torch.randn(1, 2, 300 + 2 * model.context)
    peaks = model(loud).waveforms.abs().amax(dim=(0, 2, 3))
    assert (peaks[[0, 2, 3]] <= 1).all() and peaks[1] > 1


@torch.no_grad()
def test_learned_interpolation_by_hand() -> None:
    layer = Interpolator(1)
    layer.weight.fill_(torch.logit(torch.tensor(0.75)))
    frames = torch.tensor([[[0.0, 4.0, 8.0]]])
    expected = torch.tensor([[[0.0, 1.0, 4.0, 5.0, 8.0, 8.0]]])  # three quarters of the earlier one
    assert torch.allclose(layer(frames), expected)


@pytest.mark.parametrize("condition", ["multiply", "concat", "film"])
@torch.no_grad()
def test_conditioning_answers_each_question_apart(condition: str) -> None:
    model = make(condition=condition, residual=None)
    for linear in [model.label, *model.films]:
        if linear is not None:
            torch.nn.init.normal_(linear.weight)
    mixture = torch.randn(3, 2, 200 + 2 * model.context)
    estimate = model(mixture).waveforms
    assert estimate.shape == (3, 4, 2, 200)
    assert not torch.allclose(estimate[:, 0], estimate[:, 1], atol=1e-4)
    alone = model(mixture[1:2]).waveforms[0]
    assert torch.allclose(alone, estimate[1], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"padding": "reflect"}, "valid or same"),
        ({"condition": "multiply"}, "residual"),
        ({"wavelet": "haar"}, "padding same"),
        ({"down_kernel": 14}, "odd"),
        ({"wavelet": "haar", "padding": "same", "width": 3}, "even"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(**changes)


def test_a_segment_of_context_alone_is_refused() -> None:
    model = make()
    with pytest.raises(UserError, match="longer segments"):
        model(torch.zeros(1, 2, 2 * model.context))
