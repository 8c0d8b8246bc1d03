"""Key maps of waveform models: every public key finds its place, targets find their order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.errors import UserError
from sepexp.weights import conv_tasnet, demucs, meta_tasnet

TARGETS = ["vocals", "drums", "bass", "other"]
META = ["bases=[8,16]", "kernels=[10,20]", "n_ffts=[64,128]", "compressed=8", "width=8"]
META += ["hidden=8", "blocks=2", "repeats=1", "groups=2"]


def make(model: str, *sizes: str) -> torch.nn.Module:
    torch.manual_seed(0)
    overrides = [f"model.{size}" for size in sizes]
    return build.model(plain(compose([f"model={model}", *overrides]))).eval()


def released_meta_tasnet(model: torch.nn.Module) -> dict[str, Tensor]:
    """Our tensors under the names and in the shapes of the release."""
    state = {}

    def layer(ours: torch.nn.Module, name: str, last: str) -> None:
        for theirs, part in (("bottleneck", ours.squeeze), (last, ours.expand)):
            for key, value in part.state_dict().items():
                state[f"{name}.{theirs}.{key}"] = value

    def activation(ours: torch.nn.Module, name: str, number: int) -> None:
        layer(ours.norm.weights, f"{name}.norm_{number}", "affine")
        state[f"{name}.prelu_{number}.weight"] = ours.prelu.weight

    for index, stage in enumerate(model.stages):
        start, encoder = f"stages.{index}.", stage.encoder
        for number, conv in enumerate(encoder.bank):
            state[f"{start}encoder.filters.{number}.weight"] = conv.weight
        for number in (0, 2):
            state[f"{start}encoder.bottleneck.{number}.weight"] = encoder.mix[number].weight
        branch, name = encoder.spectrogram, f"{start}encoder.spectrogram."
        state[name + "window"] = branch.stft.window
        state[name + "mel_transform.weight"] = branch.compress.weight
        state[name + "mel_transform.bias"] = branch.compress.bias
        state[name + "mean"] = branch.mean[None, :, None]
        state[name + "std"] = branch.deviation[None, :, None]
        state[name + "affine_bias"] = branch.shift[None, :, None]
        state[name + "affine_scale"] = branch.scale[None, :, None]
        state[start + "decoder.bottleneck.0.weight"] = stage.decoder.split.weight.transpose(0, 1)
        for number, conv in enumerate(stage.decoder.bank):
            state[f"{start}decoder.filters.{number}.weight"] = conv.weight
        state[start + "instrument_embedding.weight"] = stage.embedding
        for number, part in enumerate((stage.input, stage.before, stage.after, stage.output)):
            activation(part, start + "mask", number + 1)
        layer(stage.narrow.weights, start + "mask.in_conv", "kernel")
        layer(stage.widen.weights, start + "mask.mask_output", "kernel")
        for number, block in enumerate(stage.blocks):
            name = f"{start}mask.tcn.{number}"
            layer(block.expand.weights, name + ".conv1d", "kernel")
            layer(block.depthwise.weights, name + ".dconv1d", "kernel")
            layer(block.residual.weights, name + ".res_out", "kernel")
            layer(block.skip.weights, name + ".skip_out", "kernel")
            activation(block.first, name, 1)
            activation(block.second, name, 2)
    return {key: value.detach() for key, value in state.items()}


@torch.no_grad()
def test_meta_tasnet_round_trip_with_targets_in_our_order() -> None:
    source, loaded = make("meta_tasnet", *META), make("meta_tasnet", *META)
    for parameter in source.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    state = meta_tasnet.convert(released_meta_tasnet(source), targets=TARGETS)
    loaded.load_state_dict(state)
    mixture = torch.randn(1, 1, 2000)
    expected = source(mixture).waveforms[:, [3, 0, 1, 2]]  # released: drums, bass, other, vocals
    assert torch.allclose(loaded(mixture).waveforms, expected, atol=1e-5)


@pytest.mark.parametrize("upsampling", ["transposed", "decimation"])
@torch.no_grad()
def test_demucs_targets_find_their_order(upsampling: str) -> None:
    sizes = ["width=4", "depth=2", "resample=false", f"upsampling={upsampling}"]
    source, loaded = make("demucs", *sizes), make("demucs", *sizes)
    loaded.load_state_dict(demucs.convert(source.state_dict(), targets=TARGETS))
    mixture = torch.randn(1, 2, 500 + 2 * source.context)
    expected = source(mixture).waveforms[:, [3, 0, 1, 2]]
    assert torch.allclose(loaded(mixture).waveforms, expected, atol=1e-6)


def test_strangers_are_refused() -> None:
    with pytest.raises(UserError, match="hdemucs"):
        demucs.convert({"encoder.0.norm1.weight": torch.zeros(1)}, targets=TARGETS)
    with pytest.raises(UserError, match="no key"):
        meta_tasnet.convert({"stages.0.mask.lstm": torch.zeros(1)}, targets=TARGETS)
    with pytest.raises(UserError, match="no key"):
        conv_tasnet.convert({"separator.gru": torch.zeros(1)}, channels=2, targets=TARGETS)


def test_other_targets_are_refused() -> None:
    with pytest.raises(UserError, match="drums, bass, other, vocals"):
        meta_tasnet.convert({}, targets=["vocals", "accompaniment"])
