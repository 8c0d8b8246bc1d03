"""Parts that magnitude models share: one network a target, statistics, synthesis."""

from __future__ import annotations

import pytest
import torch
from specs import MODELS
from torch import Tensor, nn

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.nn.bin_statistics import bin_statistics
from sepexp.nn.per_target import PerTarget
from sepexp.nn.spectra_only import spectra_only
from sepexp.nn.wiener import Wiener

MAGNITUDE = (
    "open_unmix",
    "u_net",
    "u_net_channels",
    "mmdensenet",
    "drnn",
    "deepconvsep",
    "sams_net",
)
COMPLEX = ("crn", "phasebook", "real_spectrum")


def test_each_target_has_its_own_network() -> None:
    torch.manual_seed(0)
    networks = PerTarget(lambda: nn.Linear(3, 2), targets=4)
    values = torch.randn(5, 3)
    output = networks(values)
    assert output.shape == (5, 4, 2)
    for index, network in enumerate(networks.networks):
        assert torch.equal(output[:, index], network(values))
    assert len({network.weight.data_ptr() for network in networks.networks}) == 4


def test_statistics_over_songs_of_different_lengths() -> None:
    torch.manual_seed(0)
    songs = [100 + torch.randn(2, 6, frames) for frames in (5, 50, 17)]
    mean, deviation = bin_statistics(((song, song[None]) for song in songs), lambda song: song)
    together = torch.cat([song.mean(0) for song in songs], -1)
    assert torch.allclose(mean, together.mean(-1), rtol=1e-6)
    assert torch.allclose(deviation, together.std(-1, correction=0), rtol=1e-5)


def test_statistics_of_silence_can_be_divided_by() -> None:
    silence = torch.zeros(2, 6, 9)
    _, deviation = bin_statistics([(silence, silence[None])], lambda song: song)
    assert (deviation > 0).all()


def parts(targets: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    mixture = torch.randn(1, 2, 5, 30, dtype=torch.complex64)
    return torch.rand(1, targets, 2, 5, 30), mixture


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("targets", [1, 2])
def test_wiener_gives_back_as_many_targets_as_came(targets: int, residual: bool) -> None:
    magnitudes, mixture = parts(targets)
    module = Wiener(
        targets=targets, iterations=1, softmask=False, residual=residual, window=10
    ).eval()
    filtered = module(magnitudes, mixture)
    assert filtered.shape == magnitudes.shape
    complete = torch.allclose(filtered.sum(1), mixture, atol=1e-3)
    assert complete == (targets == 2 and not residual)  # the residual is left out of the sum
    assert torch.allclose(module.train()(magnitudes, mixture).abs(), magnitudes, atol=1e-6)


def test_spectra_only_has_no_samples() -> None:
    for spectra in parts():
        separation = spectra_only(spectra[:, None] if spectra.dim() == 4 else spectra)
        assert separation.waveforms.numel() == 0
        assert separation.waveforms.shape[:3] == separation.spectra.shape[:3]
        assert not separation.waveforms.is_complex()


@pytest.mark.parametrize("config", MAGNITUDE + COMPLEX)
def test_training_on_spectra_skips_the_inverse_transform(config: str) -> None:
    spec = next(spec for spec in MODELS if spec.config == config)
    model = build.model(plain(compose([f"model={config}", *spec.tiny])))
    mixture = torch.randn(2, model.channels, 2000)
    model.train()
    assert model(mixture).waveforms.shape[-1] == 2000
    model.waveforms_in_training = False
    separation = model(mixture)
    assert separation.waveforms.shape[-1] == 0
    separation.spectra.abs().sum().backward()
    assert model.eval()(mixture).waveforms.shape[-1] == 2000
