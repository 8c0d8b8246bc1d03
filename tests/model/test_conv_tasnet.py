"""Conv-TasNet against the public implementations, its counts block by block, its lengths."""

from __future__ import annotations

import pytest
import torch

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.errors import UserError
from sepexp.model.conv_tasnet import ConvTasNet
from sepexp.weights.conv_tasnet import convert

TARGETS = ["vocals", "drums", "bass", "other"]  # the reference: vocals last
SMALL = {
    "bases": 16,
    "kernel": 20,
    "stride": 10,
    "bottleneck": 8,
    "hidden": 12,
    "block_kernel": 3,
    "blocks": 3,
    "repeats": 2,
}
MUSIC = {
    "skip": 0,
    "bias": False,
    "norm": "gln",
    "input_norm": "cln",
    "mask": "relu",
    "encoder_relu": True,
    "edge_padding": False,
    "head_prelu": False,
    "last_residual": True,
    "causal": False,
}
SPEECH = MUSIC | {"skip": 8, "bias": True, "input_norm": "gln", "mask": "sigmoid"}
SPEECH |= {"encoder_relu": False, "head_prelu": True}


def make(channels: int = 2, targets: int = 4, **changes: object) -> ConvTasNet:
    torch.manual_seed(0)
    settings = SMALL | MUSIC | changes
    model = ConvTasNet(sample_rate=8000, channels=channels, targets=targets, **settings)
    return model.eval()


def published(config: str, *overrides: str) -> ConvTasNet:
    with torch.device("meta"):
        return build.model(plain(compose([f"model={config}", *overrides])))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def shake(module: torch.nn.Module) -> None:
    """Give every parameter, norms too, a value that nothing else has."""
    torch.manual_seed(3)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, mean=0.1, std=0.3)


def test_counts_of_the_music_form() -> None:
    model = published("conv_tasnet")
    assert count(model.encoder) == 10_240
    assert count(model.masks.input_norm) == 512
    assert count(model.masks.bottleneck) == 65_536
    assert {count(block) for block in model.masks.blocks} == {265_730}
    assert count(model.masks.head) == 262_144
    assert count(model.decoder) == 10_240


def test_receptive_field() -> None:
    # R (P - 1) (2^X - 1) + 1 frames: 2041 with X = 8 and 8185 with X = 10
    assert published("conv_tasnet_x8").receptive_field() == 2040 * 10 + 20
    assert published("conv_tasnet").receptive_field() == 8184 * 10 + 20


def test_counts_of_the_speech_form() -> None:
    model = published("conv_tasnet_speech", "targets=[vocals,other]")
    assert (count(model.encoder), count(model.decoder)) == (8_192, 8_192)
    assert count(model.masks.input_norm) == 1_024
    assert count(model.masks.bottleneck) == 65_664
    assert [count(block) for block in model.masks.blocks] == 24 * [201_474]
    assert count(model.masks.head_prelu) + count(model.masks.head) == 132_097


def test_counts_of_other_forms() -> None:
    assert count(published("conv_tasnet", "model.blocks=9")) == 9_914_952
    lean = ("skip=0", "bias=false", "head_prelu=false")  # residual path alone, no biases
    speech = published(
        "conv_tasnet_speech", "targets=[vocals,other]", *(f"model.{one}" for one in lean)
    )
    assert {count(block) for block in speech.masks.blocks} == {134_658}
    assert count(speech) == 3_445_808


@torch.no_grad()
def test_is_torchaudios_speech_form() -> None:
    models = pytest.importorskip("torchaudio.models")
    sizes = {"enc_kernel_size": 16, "enc_num_feats": 16, "msk_num_feats": 8}
    sizes |= {"msk_num_hidden_feats": 12, "msk_num_layers": 3, "msk_num_stacks": 2}
    reference = models.ConvTasNet(num_sources=3, msk_activate="sigmoid", **sizes).eval()
    shake(reference)
    changes = SPEECH | {"kernel": 16, "stride": 8, "edge_padding": True, "last_residual": False}
    ours = make(channels=1, targets=3, **changes)
    ours.load_state_dict(convert(reference.state_dict(), channels=1, targets=[]))
    for samples in (800, 803):
        mixture = torch.randn(2, 1, samples)
        expected = reference(mixture)[:, :, None]
        assert torch.allclose(ours(mixture).waveforms, expected, rtol=1e-5, atol=1e-5)


def test_counts_of_torchaudios_base_size() -> None:
    models = pytest.importorskip("torchaudio.models")
    with torch.device("meta"):
        reference = models.conv_tasnet_base(num_sources=2)
    assert count(reference) == 4_984_881
    ours = published("conv_tasnet_speech", "targets=[a,b]", "model.last_residual=false")
    assert count(ours) == 4_984_881


@pytest.mark.parity
def test_counts_of_asteroids_default_size() -> None:
    models = pytest.importorskip("asteroid.models")
    assert count(models.ConvTasNet(2)) == 5_050_545
    assert count(published("conv_tasnet_speech", "targets=[a,b]")) == 5_050_545


@pytest.mark.parity
@pytest.mark.parametrize(("config", "blocks"), [("conv_tasnet_x8", 8), ("conv_tasnet", 10)])
def test_counts_of_demucs_2(config: str, blocks: int) -> None:
    tasnet = pytest.importorskip("demucs.tasnet")
    with torch.device("meta"):
        reference = tasnet.ConvTasNet(TARGETS, X=blocks)
    assert count(published(config)) == count(reference)


@pytest.mark.parity
@torch.no_grad()
def test_is_the_music_form_of_demucs_2() -> None:
    tasnet = pytest.importorskip("demucs.tasnet")
    reference = tasnet.ConvTasNet(["a"] * 4, N=16, L=20, B=8, H=12, X=3, R=2).eval()
    shake(reference)
    ours = make()
    ours.load_state_dict(convert(reference.state_dict(), channels=2, targets=TARGETS))
    mixture = torch.randn(2, 2, 2020)
    expected = reference(mixture)[:, [3, 0, 1, 2]]
    scale = expected.abs().max()
    assert torch.allclose(ours(mixture).waveforms / scale, expected / scale, atol=1e-5)


@pytest.mark.parity
@torch.no_grad()
def test_is_asteroids_speech_form() -> None:
    models = pytest.importorskip("asteroid.models")
    reference = models.ConvTasNet(
        2, n_filters=16, n_blocks=3, n_repeats=2, bn_chan=8, hid_chan=12, skip_chan=8
    ).eval()
    shake(reference)
    ours = make(channels=1, targets=2, **SPEECH | {"kernel": 16, "stride": 8})
    ours.load_state_dict(convert(reference.state_dict(), channels=1, targets=[]))
    mixture = torch.randn(2, 1, 808)
    expected = reference(mixture)[:, :, None]
    assert torch.allclose(ours(mixture).waveforms, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_causal_form_does_not_see_the_future() -> None:
    model = make(causal=True, norm="cln")
    mixture = torch.randn(1, 2, 2000)
    changed = mixture.clone()
    changed[..., 1000:] = 0
    before, after = model(mixture).waveforms, model(changed).waveforms
    known = 1000 - model.kernel  # a frame reads its own samples
    assert torch.allclose(before[..., :known], after[..., :known], atol=1e-6)
    assert not torch.allclose(before[..., 1000:], after[..., 1000:], atol=1e-3)


@torch.no_grad()
def test_softmax_masks_sum_to_one() -> None:
    model = make(mask="softmax")
    weights = torch.rand(1, 16, 50)
    assert torch.allclose(model.masks(weights).sum(dim=1), torch.ones(1, 16, 50), atol=1e-6)


def test_norms_start_neutral_and_the_decoder_at_xaviers_deviation() -> None:
    model = make(bases=400, kernel=200, stride=100)
    norm = model.masks.blocks[0].expand[2]
    assert torch.equal(norm.weight, torch.ones_like(norm.weight))
    expected = (2 / (400 + 2 * 200)) ** 0.5
    assert model.decoder.weight.std().item() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"causal": True}, "gln"),
        ({"mask": "tanh"}, "expected relu"),
        ({"norm": "layer"}, "expected gln"),
        ({"stride": 30}, "stride"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(**changes)


def test_a_stranger_among_the_keys_is_refused() -> None:
    with pytest.raises(UserError, match="no key"):
        convert({"mask_generator.transformer.weight": torch.zeros(1)}, channels=1, targets=[])
