"""Meta-TasNet: counts by part and stage, generated layers, statistics, gains."""

from __future__ import annotations

import pytest
import torch

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.errors import UserError
from sepexp.model.meta_tasnet import MetaTasNet, match_mixture

TINY = ["bases=[8,16]", "kernels=[10,20]", "n_ffts=[64,128]", "compressed=8", "width=8"]
TINY += ["hidden=8", "blocks=2", "repeats=1", "groups=2"]


def make(*changes: str) -> MetaTasNet:
    torch.manual_seed(0)
    overrides = [f"model.{change}" for change in (*TINY, *changes)]
    return build.model(plain(compose(["model=meta_tasnet", *overrides]))).eval()


def published(*changes: str) -> MetaTasNet:
    overrides = [f"model.{change}" for change in changes]
    with torch.device("meta"):
        return build.model(plain(compose(["model=meta_tasnet", *overrides])))


def count(*modules: torch.nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def masks(stage: torch.nn.Module) -> int:
    embedding = 0 if stage.embedding is None else stage.embedding.numel()
    return count(stage) - count(stage.encoder, stage.decoder) - embedding


def test_counts_by_part_and_stage() -> None:
    stages = published().stages
    assert [count(s) for s in stages] == [10_061_812, 13_199_988, 22_269_460]
    assert [count(s.encoder.bank) for s in stages] == [15_400, 61_600, 246_400]
    assert [count(s.encoder.spectrogram) for s in stages] == [132_610, 264_706, 528_898]
    assert [count(s.encoder.mix) for s in stages] == [451_440, 1_580_480, 5_871_360]
    assert [count(s.decoder) for s in stages] == [182_600, 730_400, 2_921_600]
    assert [masks(s) for s in stages] == [9_279_730, 10_562_770, 12_701_170]
    assert {count(block) for s in stages for block in s.blocks} == {467_792}
    assert [count(s.input.norm) for s in stages] == [5_325, 15_885, 31_725]
    assert [count(s.narrow) for s in stages] == [422_445, 1_267_245, 2_534_445]
    assert [count(s.widen) for s in stages] == [422_445, 844_845, 1_689_645]
    assert [count(s.output.norm) for s in stages] == [5_325, 10_605, 21_165]


def test_independent_weights() -> None:
    stages = published("embedding=0").stages
    assert [masks(stage) for stage in stages] == [6_183_080, 7_038_440, 8_464_040]
    assert {count(block) for stage in stages for block in stage.blocks} == {311_682}


@torch.no_grad()
def test_targets_differ_by_their_embeddings_alone() -> None:
    model = make("mask=sigmoid", "fit_gains=false")  # equal estimates leave gains open
    mixture = torch.randn(1, 1, 2000)
    estimate = model(mixture).waveforms
    assert not torch.allclose(estimate[:, 0], estimate[:, 1], atol=1e-3)
    for stage in model.stages:
        stage.embedding.copy_(stage.embedding[:1].expand(4, -1))
    estimate = model(mixture).waveforms
    assert torch.allclose(estimate[:, 0], estimate[:, 1], atol=1e-5)


def test_extras_in_training_have_every_stage() -> None:
    model = make().train()
    extras = model(torch.randn(2, 1, 1999)).extras
    assert extras["mixture1"].shape == (2, 1, 1000)
    assert extras["waveforms1"].shape == (2, 4, 1, 1000)
    assert extras["waveforms2"].shape == (2, 4, 1, 2000)
    assert extras["reconstruction2"].shape == (2, 1, 2000)
    assert extras["latents1"].shape == (2, 1, 4, 8, 100)
    assert extras["latents2"].shape == (2, 1, 4, 16, 100)


@torch.no_grad()
def test_softmax_masks_split_the_latent() -> None:
    stage = make().stages[0]
    latent, masked = stage(torch.randn(2, 1, 1000), None)
    assert torch.allclose(masked.sum(dim=1), latent, atol=1e-5)


@torch.no_grad()
def test_estimates_follow_the_mixtures_scale() -> None:
    model = make("fit_gains=false")
    mixture = torch.randn(1, 1, 2000)
    assert torch.allclose(
        0.1 * model(mixture).waveforms, model(0.1 * mixture).waveforms, rtol=1e-3, atol=1e-5
    )


@torch.no_grad()
def test_prepare_standardises_the_log_spectrogram() -> None:
    model = make()
    songs = [(0.3 * torch.randn(1, 20_000), torch.zeros(1)) for _ in range(2)]
    model.prepare(songs)
    for index, stage in enumerate(model.stages):
        branch = stage.encoder.spectrogram
        scaled = torch.stack([song / song.std() for song, _ in songs])
        power = branch.log_power(model._rates(scaled)[index][:, 0])
        standard = (power - branch.mean[:, None]) / branch.deviation[:, None]
        assert standard.mean(dim=(0, 2)).abs().max() < 1e-2
        assert (standard.std(dim=(0, 2)) - 1).abs().max() < 1e-2


@torch.no_grad()
def test_gains_undo_arbitrary_scales() -> None:
    torch.manual_seed(0)
    truth = torch.randn(2, 3, 2, 4000)
    scales = torch.tensor([0.2, 3.0, 1.5])[:, None, None]
    matched = match_mixture(scales * truth, truth.sum(dim=1))
    # the ridge, 1e-4 of the mean energy, pulls the weakest gain down by about its own share
    assert torch.allclose(matched, truth, rtol=2e-2, atol=2e-2)


@torch.no_grad()
def test_gains_of_silent_and_equal_estimates_stay_finite() -> None:
    wave = torch.randn(1, 1, 1, 500)
    estimates = torch.cat([wave, wave, 0 * wave], dim=1)
    matched = match_mixture(estimates, 2 * wave[:, 0])
    assert torch.isfinite(matched).all()
    assert torch.allclose(matched.sum(dim=1), 2 * wave[:, 0], atol=1e-2)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="stages"):
        make("bases=[8]")
    with pytest.raises(UserError, match="twice"):
        make("kernels=[10,30]")
    with pytest.raises(UserError, match="mask"):
        make("mask=tanh")
