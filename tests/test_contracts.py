"""What every model promises, tried on every row of the table at tiny sizes."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from specs import MODELS, ModelSpec
from torch import Tensor, nn

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.evaluation import macs_a_second
from sepexp.separation import Separation

ROWS = {f"{spec.config}[{','.join(spec.overrides)}]": spec for spec in MODELS}
TINY = {spec.config: spec for spec in MODELS}.values()


@cache
def config(name: str, overrides: tuple[str, ...]) -> dict:
    return plain(compose([f"model={name}", *overrides]))


def tiny(spec: ModelSpec, *overrides: str) -> nn.Module:
    torch.manual_seed(0)
    return build.model(config(spec.config, (*spec.tiny, *overrides)))


def noise(model: nn.Module, samples: int, batch: int = 2) -> Tensor:
    torch.manual_seed(1)
    return 0.1 * torch.randn(batch, model.channels, samples + 2 * model.context)


def each_tiny(function):
    return pytest.mark.parametrize("spec", TINY, ids=lambda spec: spec.config)(function)


@pytest.mark.parametrize("spec", ROWS.values(), ids=ROWS)
def test_golden_parameter_count(spec: ModelSpec) -> None:
    if spec.parameters is None:
        pytest.skip("no sure count")
    with torch.device("meta"):
        model = build.model(config(spec.config, spec.overrides))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == spec.parameters


@each_tiny
@torch.no_grad()
def test_shapes_at_any_length(spec: ModelSpec) -> None:
    model = tiny(spec).eval()
    settings = config(spec.config, spec.tiny)
    for samples in (spec.samples, spec.samples + 1, spec.samples - 37, 700):
        estimate = model(noise(model, samples))
        assert isinstance(estimate, Separation)
        expected = (2, len(settings["targets"]), model.channels, samples)
        assert estimate.waveforms.shape == expected
        if estimate.spectra is not None:
            truth = model.analyse(estimate.waveforms)
            assert truth.shape == estimate.spectra.shape
            assert truth.is_complex() == estimate.spectra.is_complex()


@each_tiny
@torch.no_grad()
def test_silence_stays_finite(spec: ModelSpec) -> None:
    model = tiny(spec).eval()
    assert torch.isfinite(model(0 * noise(model, spec.samples)).waveforms).all()


@each_tiny
def test_silence_has_finite_gradients(spec: ModelSpec) -> None:
    model = tiny(spec).train()
    model(0 * noise(model, spec.samples)).waveforms.square().sum().backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)


@each_tiny
@torch.no_grad()
def test_an_item_does_not_depend_on_its_batch(spec: ModelSpec) -> None:
    model = tiny(spec).eval()
    mixture = noise(model, spec.samples, batch=3)
    together, alone = model(mixture).waveforms[1], model(mixture[1:2]).waveforms[0]
    scale = together.abs().max().clamp_min(1e-6)
    assert torch.allclose(together / scale, alone / scale, atol=2e-5)  # float32 sum order


@each_tiny
def test_every_parameter_gets_a_gradient(spec: ModelSpec) -> None:
    model = tiny(spec).train()
    estimate = model(noise(model, spec.samples))
    loss = estimate.waveforms.square().mean()
    for extra in (estimate.extras or {}).values():
        if torch.is_floating_point(extra) and extra.requires_grad:
            loss = loss + extra.square().mean()
    loss.backward()
    dead = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not dead


@each_tiny
@torch.no_grad()
def test_state_dict_rebuilds_the_model(spec: ModelSpec) -> None:
    first, second = tiny(spec).eval(), tiny(spec).eval()
    for parameter in second.parameters():
        parameter.add_(0.1)
    second.load_state_dict(first.state_dict())
    mixture = noise(first, spec.samples)
    assert torch.equal(first(mixture).waveforms, second(mixture).waveforms)


@each_tiny
def test_autocast_to_bfloat16(spec: ModelSpec) -> None:
    model = tiny(spec).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        estimate = model(noise(model, spec.samples))
    assert torch.isfinite(estimate.waveforms).all()
    estimate.waveforms.float().square().mean().backward()


@each_tiny
def test_a_few_steps_lower_the_loss(spec: ModelSpec) -> None:
    model = tiny(spec).train()
    mixture = noise(model, spec.samples)
    targets = model(mixture).waveforms.shape[1]
    centre = mixture[..., model.context : mixture.shape[-1] - model.context]
    weights = torch.linspace(0.1, 0.9, targets)[:, None, None]
    truth = weights * centre[:, None]
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.learning_rate)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        torch.manual_seed(0)  # the same dropout at every step
        loss = (model(mixture).waveforms - truth).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[1:]) < losses[0]


# a codebook is a parameter that a module gives back, an LSTM is counted by hand
@pytest.mark.parametrize("name", ["magbook", "combook", "open_unmix", "deepconvsep", "wave_u_net"])
def test_its_work_can_be_counted(name: str) -> None:
    model = tiny(next(spec for spec in TINY if spec.config == name))
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    assert macs_a_second(model) > 0 and model.training
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted


@each_tiny
def test_is_a_plain_module(spec: ModelSpec) -> None:
    model = tiny(spec)
    assert isinstance(model, nn.Module)
    assert isinstance(model.sample_rate, int) and isinstance(model.channels, int)
    assert isinstance(getattr(model, "context", None), int)
