"""Demucs against the reference, its counts block by block, its lengths and its initialisation."""

from __future__ import annotations

import pytest
import torch

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.errors import UserError
from sepexp.model.demucs import Demucs, rescale_convolutions
from sepexp.weights.demucs import convert

SETTINGS = {
    "sample_rate": 44100,
    "channels": 2,
    "targets": 4,
    "width": 4,
    "depth": 6,
    "growth": 2,
    "kernel": 8,
    "stride": 4,
    "context_kernel": 3,
    "rewrite": True,
    "activation": "glu",
    "lstm_layers": 2,
    "rescale": 0.1,
    "resample": False,
    "normalize": False,
    "upsampling": "transposed",
}


def make(**changes: object) -> Demucs:
    torch.manual_seed(0)
    return Demucs(**(SETTINGS | changes)).eval()


def on_meta(**changes: object) -> Demucs:
    with torch.device("meta"):
        return make(**changes)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("config", "down", "lstm", "up"),
    [
        (
            "demucs",
            [9_408, 98_688, 393_984, 1_574_400, 6_294_528, 25_171_968],
            176_228_352,
            [41_948_160, 10_488_320, 2_622_720, 656_000, 164_160, 28_808],
        ),
        (
            "demucs_100",
            [21_900, 240_600, 961_200, 3_842_400, 15_364_800, 61_449_600],
            430_185_600,
            [102_408_000, 25_604_000, 6_402_000, 1_601_000, 400_500, 66_608],
        ),
    ],
)
def test_counts_block_by_block(config: str, down: list[int], lstm: int, up: list[int]) -> None:
    with torch.device("meta"):
        model = build.model(plain(compose([f"model={config}"])))
    assert [count(layer) for layer in model.encoder] == down
    assert count(model.lstm) == lstm
    assert [count(layer) for layer in model.decoder] == up


@pytest.mark.parametrize(
    ("width", "parameters"), [(32, 66_443_592), (48, 149_462_504), (80, 415_094_568)]
)
def test_counts_at_other_widths(width: int, parameters: int) -> None:
    assert count(on_meta(width=width)) == parameters


@pytest.mark.parametrize(
    ("resample", "samples", "read", "estimated"),
    [(False, 44_100, 58_708, 47_788), (False, 441_000, 451_924, 441_004)]
    + [(True, 44_100, 49_834, 44_374), (True, 441_000, 447_146, 441_686)],
)
def test_published_lengths(resample: bool, samples: int, read: int, estimated: int) -> None:
    model = on_meta(resample=resample)
    assert model.valid_length(samples) == read
    assert read - 2 * model.context == estimated


@pytest.mark.parity
@pytest.mark.parametrize(("config", "width"), [("demucs", 64), ("demucs_100", 100)])
def test_counts_of_the_reference(config: str, width: int) -> None:
    reference_module = pytest.importorskip("demucs.model")
    with torch.device("meta"):
        reference = reference_module.Demucs(["a"] * 4, channels=width)
        ours = build.model(plain(compose([f"model={config}"])))
    assert count(ours) == count(reference)


@pytest.mark.parity
@pytest.mark.parametrize(
    "changes",
    [{}, {"resample": True}, {"normalize": True}, {"depth": 4, "rewrite": False}]
    + [{"depth": 4, "activation": "relu", "lstm_layers": 0, "context_kernel": 1}],
)
@torch.no_grad()
def test_is_the_reference(changes: dict) -> None:
    reference_module = pytest.importorskip("demucs.model")
    settings = SETTINGS | changes
    same = ("depth", "rewrite", "rescale", "resample", "lstm_layers", "normalize")
    reference = reference_module.Demucs(
        ["a"] * 4,
        channels=settings["width"],
        glu=settings["activation"] == "glu",
        context=settings["context_kernel"],
        **{name: settings[name] for name in same},
    ).eval()
    ours = make(**changes)
    ours.load_state_dict(
        convert(reference.state_dict(), targets=["vocals", "drums", "bass", "other"])
    )
    mixture = 0.1 * torch.randn(2, 2, reference.valid_length(20_000))
    expected = reference(mixture)[:, [3, 0, 1, 2], ..., : mixture.shape[-1] - 2 * ours.context]
    assert torch.allclose(ours(mixture).waveforms, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("upsampling", ["transposed", "decimation"])
@torch.no_grad()
def test_estimates_lie_where_the_context_says(upsampling: str) -> None:
    model = make(depth=1, lstm_layers=0, upsampling=upsampling, context_kernel=5, width=2)
    mixture = torch.randn(1, 2, 200 + 2 * model.context)
    moved = torch.roll(mixture, 4, dims=-1)  # a stride: the layers see the same, one frame later
    still, late = model(mixture).waveforms, model(moved).waveforms
    assert torch.allclose(still[..., 20:-20], late[..., 24:-16], atol=1e-5)


@torch.no_grad()
def test_silence_around_the_segment_is_what_padding_means() -> None:
    model = make(depth=3)
    mixture = torch.randn(1, 2, 1000 + 2 * model.context)
    longer = torch.nn.functional.pad(mixture, (0, model.valid_length(1000) - mixture.shape[-1]))
    expected = model(longer).waveforms[..., :1000]
    assert torch.allclose(model(mixture).waveforms, expected, atol=1e-6)


@torch.no_grad()
def test_rescaling_moves_the_deviation_half_way() -> None:
    layer = torch.nn.Conv1d(50, 50, 8)
    torch.nn.init.normal_(layer.weight, std=0.013)
    bias = layer.bias.clone()
    std = layer.weight.std()
    rescale_convolutions(layer, 0.1)
    assert layer.weight.std().item() == pytest.approx(((std * 0.1) ** 0.5).item(), rel=1e-4)
    assert torch.allclose(layer.bias, bias / (std / 0.1).sqrt())


@torch.no_grad()
def test_without_rescaling_the_output_starts_about_twenty_times_too_small() -> None:
    """At the published width; the last skip rules the level, so three layers show it like six."""
    levels = {}
    for rescale in (0.0, 0.1):
        model = make(rescale=rescale, width=64, depth=3, lstm_layers=0)
        mixture = torch.randn(1, 2, model.valid_length(4000))
        levels[rescale] = (model(mixture).waveforms.std() / mixture.std()).item()
    assert 1 / 25 < levels[0.0] < 1 / 12
    assert levels[0.1] > 1.3 * levels[0.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activation": "elu"}, "glu or relu"),
        ({"context_kernel": 2}, "odd"),
        ({"upsampling": "cubic"}, "transposed"),
        ({"upsampling": "wavelet", "stride": 6, "kernel": 12}, "power of two"),
        ({"upsampling": "subpixel", "stride": 3}, "multiple"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        on_meta(**changes)


def test_a_segment_of_context_alone_is_refused() -> None:
    model = make(depth=2)
    with pytest.raises(UserError, match="longer segments"):
        model(torch.zeros(1, 2, 2 * model.context))
