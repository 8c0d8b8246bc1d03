"""Open-Unmix: layer counts, statistics, the place of the Wiener filter, the public output."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sepexp.errors import UserError
from sepexp.model.open_unmix import OpenUnmix
from sepexp.nn.wiener import Wiener
from sepexp.weights.open_unmix import convert


def build(targets: int = 2, channels: int = 2, **changes: object) -> OpenUnmix:
    torch.manual_seed(0)
    filter_settings = {"iterations": 1, "softmask": False, "residual": targets == 1, "window": 20}
    filter_settings |= {key: changes.pop(key) for key in list(changes) if key in filter_settings}
    settings = {
        "sample_rate": 8000,
        "n_fft": 256,
        "hop": 64,
        "bandwidth": 3000.0,
        "hidden": 16,
        "layers": 2,
        "bidirectional": True,
        "dropout": 0.4,
        "bridge": False,
    }
    return OpenUnmix(
        targets=targets,
        channels=channels,
        wiener=Wiener(targets=targets, **filter_settings),
        **settings | changes,
    )


def randomise(model: nn.Module) -> None:
    """Give every parameter and statistic a value that matters."""
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            noise = 0.3 * torch.randn(value.shape, generator=generator)
            value.copy_(noise.abs() + 0.5 if "var" in name else value + noise)


def songs(count: int = 3, samples: int = 4000) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    tilt = torch.linspace(0.1, 1.0, samples)
    mixtures = [
        tilt * torch.randn(2, samples + 100 * song, generator=generator)[:, :samples]
        for song in range(count)
    ]
    return [(mixture, mixture[None] / 2) for mixture in mixtures]


def test_counts_of_each_layer() -> None:
    with torch.device("meta"):
        model = build(
            4, sample_rate=44100, n_fft=4096, hop=1024, bandwidth=16000.0, hidden=512, layers=3
        )
    branch = model.branches[0]
    counts = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in branch.named_modules()
        if not list(module.children())
    }
    assert model.freq_in == 1487
    assert branch.input_shift.numel() + branch.input_scale.numel() == 2974
    assert branch.output_shift.numel() + branch.output_scale.numel() == 4098
    assert counts["encoder.0"] == 1522688
    assert counts["encoder.1"] == counts["decoder.1"] == 1024
    assert counts["lstm"] == 4730880
    assert counts["decoder.0"] == 524288
    assert counts["decoder.3"] == 2098176
    assert counts["decoder.4"] == 8196
    assert sum(p.numel() for p in branch.parameters()) == 8893348


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"bidirectional": False}, 10466212), ({"bandwidth": 22050.0}, 9469960)],
)
def test_counts_of_variants(changes: dict[str, object], expected: int) -> None:
    sizes = {"sample_rate": 44100, "n_fft": 4096, "hop": 1024, "hidden": 512, "layers": 3}
    with torch.device("meta"):
        model = build(**{"bandwidth": 16000.0, **sizes, **changes})
    assert sum(p.numel() for p in model.branches[0].parameters()) == expected


def test_prepare_standardises_the_training_songs() -> None:
    model = build()
    tracks = songs()
    model.prepare(tracks)
    frames = torch.cat([model.analyse(mixture).mean(0) for mixture, _ in tracks], -1)
    frames = frames[: model.freq_in]
    for branch in model.branches:
        assert torch.allclose(-branch.input_shift, frames.mean(-1), atol=1e-5)
        assert torch.allclose(1 / branch.input_scale, frames.std(-1, correction=0), atol=1e-5)


def test_prepare_leaves_empty_bins_bounded() -> None:
    model = build()
    tone = torch.sin(torch.arange(4000) * torch.pi / 4).expand(2, -1)
    model.prepare([(tone, tone[None])])
    scale = model.branches[0].input_scale
    assert scale.max() / scale.min() <= 1.001e4


@torch.no_grad()
def test_an_open_mask_returns_the_mixture() -> None:
    model = build(1, iterations=0, residual=False).eval()
    branch = model.branches[0]
    branch.output_scale.zero_()
    branch.output_shift.fill_(1.0)
    mixture = torch.randn(2, 2, 3001)
    assert torch.allclose(model(mixture).waveforms[:, 0], mixture, atol=1e-5)


@torch.no_grad()
def test_wiener_filter_waits_for_evaluation() -> None:
    model = build(dropout=0.0)
    mixture = torch.randn(2, 2, 3001)
    model.train()
    trained = model(mixture)
    spectrum = model.stft.analyse(trained.waveforms)
    assert (spectrum.abs() - trained.spectra).abs().max() > 1e-4  # synthesis makes it consistent
    phase = model.stft.analyse(mixture)[:, None] / model.analyse(mixture)[:, None] * trained.spectra
    expected = model.stft.synthesise(phase, 3001)
    assert torch.allclose(trained.waveforms, expected, atol=1e-5)
    model.eval()
    filtered = model(mixture)
    assert torch.allclose(filtered.waveforms.sum(1), mixture, atol=1e-3)


@torch.no_grad()
def test_one_target_is_told_from_the_residual() -> None:
    model = build(1, residual=False).eval()
    mixture = torch.randn(1, 2, 2000)
    alone = model(mixture)
    assert alone.waveforms.shape == (1, 1, 2, 2000)
    assert not torch.allclose(alone.waveforms[:, 0], mixture, atol=1e-2)


@torch.no_grad()
def test_bridge_averages_features() -> None:
    alone, bridged = build().eval(), build(bridge=True).eval()
    mixture = torch.randn(1, 2, 2000)
    assert alone.state_dict().keys() == bridged.state_dict().keys()
    randomise(alone)
    bridged.load_state_dict(alone.state_dict())
    assert not torch.allclose(alone(mixture).spectra, bridged(mixture).spectra)
    same = alone.branches[0].state_dict()  # equal branches have their average as features
    for model in (alone, bridged):
        model.branches[1].load_state_dict(same)
    assert torch.allclose(alone(mixture).spectra, bridged(mixture).spectra, atol=1e-5)


def test_public_weights_with_strange_keys_are_refused() -> None:
    with pytest.raises(UserError, match="no Open-Unmix weights for target drums"):
        convert({"vocals": {}}, ["drums"])
    with pytest.raises(UserError, match="conv1.weight"):
        convert({"vocals": {"conv1.weight": torch.zeros(1)}}, ["vocals"])


@pytest.mark.parity
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
@torch.no_grad()
def test_equals_openunmix(channels: int, bidirectional: bool) -> None:
    theirs = pytest.importorskip("openunmix.model")
    names = ["vocals", "drums", "bass", "other"]
    max_bin = 97
    networks = {
        name: theirs.OpenUnmix(
            nb_bins=129,
            nb_channels=channels,
            hidden_size=16,
            nb_layers=3,
            unidirectional=not bidirectional,
            max_bin=max_bin,
        )
        for name in names
    }
    for seed, network in enumerate(networks.values()):
        torch.manual_seed(seed)
        randomise(network)
    ours = build(4, channels, layers=3, bidirectional=bidirectional).eval()
    assert ours.freq_in == max_bin
    states = {name: network.state_dict() for name, network in networks.items()}
    ours.load_state_dict(convert(states, names))
    generator = torch.Generator().manual_seed(3)
    mixture = torch.randn(2, channels, 5000, generator=generator)

    def reference(iterations: int) -> Tensor:
        separator = theirs.Separator(
            networks, niter=iterations, n_fft=256, n_hop=64, nb_channels=channels, wiener_win_len=20
        )
        return separator.eval()(mixture)

    magnitude = ours.analyse(mixture)
    for index, name in enumerate(names):
        expected = networks[name].eval()(magnitude)
        assert torch.allclose(ours(mixture).spectra[:, index], expected, atol=1e-5, rtol=1e-5)
    ours.wiener.iterations = 0
    assert torch.allclose(ours(mixture).waveforms, reference(0), atol=1e-5)
    ours.wiener.iterations = 1
    # theirs runs the filter in float32
    assert torch.allclose(ours(mixture).waveforms, reference(1), atol=1e-4)
