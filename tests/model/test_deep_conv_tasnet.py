"""Conv-TasNet's deep encoder and decoder: counts by part, symmetry, options."""

from __future__ import annotations

import pytest
import torch

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.errors import UserError
from sepexp.model.deep_conv_tasnet import DeepConvTasNet


def published(*overrides: str) -> DeepConvTasNet:
    with torch.device("meta"):
        return build.model(plain(compose(["model=deep_conv_tasnet", *overrides])))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_counts_by_part() -> None:
    model = published()
    assert [count(layer) for layer in model.encoder] == [8_704] + 4 * [786_945]
    assert [count(layer) for layer in model.decoder] == 4 * [786_945] + [8_193]
    assert (count(model.encoder), count(model.decoder)) == (3_156_484, 3_155_973)
    shallow = published("model.encoder_depth=3", "model.decoder_depth=3", "model.dilated=false")
    assert (count(shallow.encoder), count(shallow.decoder)) == (2_369_539, 2_369_028)


def test_the_decoder_mirrors_the_dilations() -> None:
    model = published()
    assert [layer[0].dilation for layer in model.encoder[1:]] == [(1,), (2,), (4,), (8,)]
    assert [layer[0].dilation for layer in model.decoder[:-1]] == [(8,), (4,), (2,), (1,)]
    flat = published("model.dilated=false")
    assert {layer[0].dilation for layer in flat.encoder[1:]} == {(1,)}


def test_either_side_can_be_plain() -> None:
    assert len(published("model.encoder_depth=0").encoder) == 1
    assert len(published("model.decoder_depth=0").decoder) == 1


@pytest.mark.parametrize("activation", ["relu", "glu"])
@torch.no_grad()
def test_other_activations_keep_the_length(activation: str) -> None:
    small = ["bases=8", "bottleneck=4", "hidden=6", "blocks=2", "repeats=1"]
    overrides = [f"model.{size}" for size in small] + [f"model.activation={activation}"]
    model = build.model(plain(compose(["model=deep_conv_tasnet", *overrides])))
    assert model(torch.randn(2, 1, 333)).waveforms.shape == (2, 4, 1, 333)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="odd"):
        published("model.hidden_kernel=4")
    with pytest.raises(UserError, match="prelu"):
        published("model.activation=gelu")
