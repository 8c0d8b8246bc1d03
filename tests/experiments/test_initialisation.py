"""How loud an untrained Demucs answers: the script behind the study's first table."""

from __future__ import annotations

import pytest
import torch

from experiments.demucs_ablation.initialisation import PUBLISHED, level, levels, main, signals
from sepexp import build
from sepexp.cli.compose import compose, plain

# three layers of the published width: narrow layers start large enough by themselves
SMALLER = [*PUBLISHED, "model.depth=3", "model.lstm_layers=0"]


def measured(overrides: list[str], seeds: list[int], seconds: float) -> list[dict]:
    with torch.device("meta"):
        model = build.model(plain(compose(overrides)))
    mixtures = signals(model, seconds)
    return [levels(overrides, seed, mixtures) for seed in seeds]


def test_an_identity_has_level_one() -> None:
    model = build.model(plain(compose([*SMALLER, "targets=[vocals]"]))).eval()
    mixture = torch.randn(1, 2, 1000 + 2 * model.context)
    model.forward = lambda wave: type(
        "Answer", (), {"waveforms": wave[:, None, :, model.context : -model.context]}
    )
    assert level(model, mixture) == pytest.approx((1.0, 1.0))


def test_rescaling_starts_louder_and_without_it_far_too_quiet() -> None:
    for found in measured(SMALLER, [1, 2], 0.2):
        for name, (without, rescaled) in found.items():
            assert rescaled.output > 1.1 * without.output, name
            assert rescaled.answer > 1.3 * without.answer, name
            assert without.answer < 1 / 15, name


def test_the_same_weights_are_rescaled() -> None:
    """Rescaling afterwards is what the constructor does."""
    rescaled = plain(compose(SMALLER))
    torch.manual_seed(3)
    model = build.model(rescaled).eval()
    mixtures = signals(model, 0.1)
    found = levels(SMALLER, 3, mixtures)
    for name, mixture in mixtures.items():
        assert found[name][1] == pytest.approx(level(model, mixture), rel=1e-4)


def test_the_script_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("sys.argv", ["initialisation.py", *SMALLER, "--seeds", "1"])
    main()
    said = capsys.readouterr().out
    assert "| white noise |" in said and "| demo song |" in said


@pytest.mark.slow
def test_the_published_network_starts_some_twenty_times_too_quiet() -> None:
    """Quoted as 20 times: all of the output is 13 times quieter than noise, its answer 40 times."""
    (found,) = measured(PUBLISHED, [1], 1.0)
    without, rescaled = found["white noise"]
    assert 1 / 20 < without.output < 1 / 8 and 1 / 60 < without.answer < 1 / 25
    for before, after in found.values():
        assert after.answer > 1.4 * before.answer and after.output > 1.1 * before.output
    assert rescaled.answer < 1 / 12  # rescaling halves the loss, it doesn't undo it
