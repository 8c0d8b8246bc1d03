"""Complex heads: what each can and cannot say, and where it starts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepexp.dsp.real_spectrum import RealSpectrum
from sepexp.errors import UserError
from sepexp.loss.expectation import ExpectedError
from sepexp.loss.phase_sensitive import PhaseSensitive
from sepexp.model.complex_head import (
    Codebook,
    ComplexMask,
    Decoupled,
    Head,
    HeadedUNet,
    Mapping,
    RealMask,
    RealSpectrumMapping,
    RealSpectrumMask,
    scattered,
)
from sepexp.separation import Separation


def codebook(*, hard: bool = False, trainable: bool = True, **books: object) -> Codebook:
    settings = {"magnitudes": None, "angles": 0, "pairs": 0}
    return Codebook(**settings | books, hard=hard, trainable=trainable)


def magbook(**more: object) -> Codebook:
    return codebook(magnitudes=[0.0, 1.0, 2.0], **more)


def phasebook(**more: object) -> Codebook:
    return codebook(magnitudes=[0.0, 1.0, 2.0], angles=8, **more)


HEADS = {
    "real_mask": lambda: RealMask(limit=2.0),
    "complex_mask": lambda: ComplexMask(limit=10.0),
    "mapping": lambda: Mapping(compression=0.5),
    "decoupled": Decoupled,
    "magbook": magbook,
    "phasebook": phasebook,
    "combook": lambda: codebook(pairs=12),
    "real_spectrum": lambda: RealSpectrumMask(limit=10.0),
    "real_spectrum_mapping": lambda: RealSpectrumMapping(compression=0.5),
}


def model_with(head: Head) -> HeadedUNet:
    torch.manual_seed(0)
    return HeadedUNet(
        sample_rate=8000,
        channels=2,
        targets=3,
        n_fft=64,
        hop=16,
        widths=[4, 6],
        kernel=5,
        dropout=0.0,
        compression=0.5,
        head=head,
    )


def say(head: Head, *values: float) -> Tensor:
    """Outputs that say the same everywhere, the head's own start taken off."""
    wanted = torch.tensor(values)[:, None, None] - head.bias.detach()
    return wanted.expand(1, 1, 1, -1, 5, 7).clone()


def spectrum() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(1, 1, 1, 5, 7, dtype=torch.complex64)


@pytest.mark.parametrize("name", HEADS)
def test_backbones_are_the_same_but_for_the_last_layer(name: str) -> None:
    model, other = model_with(HEADS[name]()), model_with(RealMask(limit=2.0))
    mine = [p.shape for p in model.network.encoder.parameters()]
    assert mine == [p.shape for p in other.network.encoder.parameters()]
    assert model.network.decoder[-1].out_channels == 3 * 2 * model.head.maps


@torch.no_grad()
@pytest.mark.parametrize("name", [n for n in HEADS if n != "decoupled" and "mapping" not in n])
def test_masks_start_near_the_mixture(name: str) -> None:
    head = HEADS[name]()
    mixture = spectrum().real if head.transform is RealSpectrum else spectrum()
    estimate, _ = head(torch.zeros(1, 1, 1, head.maps, 5, 7), mixture)
    ratio = (estimate / mixture).flatten()
    assert (ratio - ratio[0]).abs().max() < 1e-4
    assert abs(ratio[0].imag) < 1e-5 if ratio.is_complex() else True
    assert 0.3 < (ratio[0].real if ratio.is_complex() else ratio[0]) < 1.7


@torch.no_grad()
def test_real_masks_keep_the_phase() -> None:
    for head in (RealMask(limit=2.0), magbook()):
        outputs = torch.randn(1, 1, 1, head.maps, 5, 7)
        ratio = head(outputs, spectrum())[0] / spectrum()
        assert ratio.imag.abs().max() < 1e-5
        assert ratio.real.min() >= 0 and ratio.real.max() <= 2


@torch.no_grad()
@pytest.mark.parametrize(
    ("head", "values", "expected"),
    [
        (ComplexMask(limit=10.0), (0.3, -0.4), 0.3 - 0.4j),
        (Decoupled(), (20.0, 0.0, 1.0, 0.0), 1j),
        (magbook(), (-50.0, -50.0, 50.0), 2.0),
        (phasebook(), (-50.0, 50.0, -50.0, *[-50.0] * 2, 50.0, *[-50.0] * 5), 1j),
    ],
    ids=["complex_mask", "decoupled", "magbook", "phasebook"],
)
def test_values_that_heads_can_say(head: Head, values: tuple, expected: complex) -> None:
    ratio = head(say(head, *values), spectrum())[0] / spectrum()
    assert torch.allclose(ratio, torch.full_like(ratio, expected), atol=2e-3)


@torch.no_grad()
@pytest.mark.parametrize(
    ("head", "values"),
    [
        (RealMask(limit=2.0), (0.0,)),
        (ComplexMask(limit=1e4), (1.0, 0.0)),
        (Decoupled(), (30.0, 1.0, 0.0, 0.0)),
        (magbook(), (-50.0, 50.0, -50.0)),
        (RealSpectrumMask(limit=1e4), (1.0,)),
    ],
    ids=["real_mask", "complex_mask", "decoupled", "magbook", "real_spectrum"],
)
def test_an_open_mask_returns_the_mixture(head: Head, values: tuple) -> None:
    model = model_with(head).eval()
    model.network.decoder[-1].weight.zero_()
    model.network.decoder[-1].bias.zero_()
    head.bias.copy_(torch.tensor(values)[:, None, None])
    mixture = torch.randn(2, 2, 1001)
    waveforms = model(mixture).waveforms
    assert torch.allclose(waveforms, mixture[:, None].expand_as(waveforms), atol=1e-5)


@torch.no_grad()
def test_decoupled_can_add_what_the_mixture_lacks() -> None:
    head = Decoupled()
    added = head(say(head, -20.0, 1.0, 0.0, 0.7), spectrum())[0]
    assert torch.allclose(added.abs(), torch.full((1, 1, 1, 5, 7), 0.7), atol=1e-4)
    none = head(say(head, -20.0, 1.0, 0.0, -0.7), spectrum())[0]
    assert torch.allclose(none.abs(), torch.zeros(1, 1, 1, 5, 7))


@torch.no_grad()
def test_mappings_do_not_look_at_the_mixture() -> None:
    for head, mixture in (
        (Mapping(compression=0.5), spectrum()),
        (RealSpectrumMapping(compression=0.5), spectrum().real),
    ):
        outputs = torch.randn(1, 1, 1, head.maps, 5, 7)
        assert torch.equal(head(outputs, mixture)[0], head(outputs, 0 * mixture)[0])
    head = Mapping(compression=0.5)
    assert torch.allclose(
        head(say(head, 3.0, 4.0), spectrum())[0].abs()[0, 0, 0, 0, 0], Tensor([25.0])
    )


@torch.no_grad()
def test_the_mean_phase_has_unit_modulus() -> None:
    head = codebook(magnitudes=[1.0], angles=8)
    ratio = head(torch.randn(1, 1, 1, 9, 5, 7), spectrum())[0] / spectrum()
    assert torch.allclose(ratio.abs(), torch.ones(1, 1, 1, 5, 7), atol=1e-3)
    undecided = head(say(head, *[0.0] * 9), spectrum())[0]  # the mean of all angles is zero
    assert torch.isfinite(undecided.abs()).all()


@torch.no_grad()
def test_hard_choice_in_evaluation_only() -> None:
    head = magbook(hard=True)
    outputs = say(head, 0.0, 0.1, 0.0)
    assert torch.allclose(head.eval()(outputs, spectrum())[0], spectrum())
    mean = torch.tensor([0.0, 0.1, 0.0]).softmax(0) @ torch.arange(3.0)
    assert torch.allclose(head.train()(outputs, spectrum())[0], mean * spectrum(), atol=1e-6)


def test_codebooks_train_or_stay() -> None:
    assert {n for n, _ in phasebook().named_parameters()} == {"bias", "magnitude", "angle"}
    fixed = phasebook(trainable=False)
    assert {n for n, _ in fixed.named_parameters()} == {"bias"}
    assert {"magnitude", "angle"} <= set(fixed.state_dict())


def test_codes_start_spread() -> None:
    codes = scattered(12)
    assert len(codes) == 12 and codes[0] == 0 and codes[1] == 1
    distances = (codes[:, None] - codes[None]).abs() + torch.eye(12)
    assert distances.min() > 0.3
    assert len(scattered(0)) == 0


def perfect() -> tuple[Separation, Separation, Tensor]:
    """A phasebook's estimate with all probability on the true code, 2i of the mixture."""
    head = phasebook()
    outputs = say(head, -50.0, -50.0, 50.0, *[-50.0] * 2, 50.0, *[-50.0] * 5)
    mixture = spectrum()
    estimate, extras = head(outputs, mixture)
    extras["mixture"] = mixture[:, 0]
    wave = torch.zeros(1, 1, 1, 10)
    return Separation(wave, estimate, extras), Separation(wave, 2j * mixture), wave[:, 0]


def test_expected_error() -> None:
    estimate, truth, mixture = perfect()
    assert ExpectedError(power=1)(estimate, truth, mixture).max() < 1e-3
    size = spectrum().abs()
    wrong = truth._replace(spectra=-2j * spectrum())
    assert torch.allclose(
        ExpectedError(power=2)(estimate, wrong, mixture), (4 * size).square().mean()[None, None]
    )
    with pytest.raises(UserError, match="phasebook"):
        ExpectedError(power=1)(truth, truth, mixture)


def test_expected_error_punishes_hedging() -> None:
    """Half 0, half 2 has the right mean, but every code alone is wrong by |X|."""
    head = magbook()
    estimate, extras = head(say(head, 0.0, -50.0, 0.0), spectrum())
    extras["mixture"] = spectrum()[:, 0]
    wave = torch.zeros(1, 1, 1, 10)
    guess, truth = Separation(wave, estimate, extras), Separation(wave, spectrum())
    assert torch.allclose(guess.spectra, truth.spectra, atol=1e-5)
    expected = spectrum().abs().mean()[None, None]
    assert torch.allclose(ExpectedError(power=1)(guess, truth, wave[:, 0]), expected)


def test_phase_sensitive_truth_is_the_projection() -> None:
    mixture = spectrum()
    wave = torch.zeros(1, 1, 1, 10)
    extras = {"mixture": mixture[:, 0]}
    turned = mixture * torch.polar(torch.tensor(1.0), torch.tensor(torch.pi / 3))
    for true, best in ((turned, 0.5), (-mixture, 0.0), (3 * mixture, 1.0)):
        guess = Separation(wave, best * mixture, extras)
        loss = PhaseSensitive()(guess, Separation(wave, true), wave[:, 0])
        assert loss.abs().max() < 1e-6
    with pytest.raises(UserError, match="real_mask"):
        PhaseSensitive()(Separation(wave, mixture), Separation(wave, mixture), wave[:, 0])
