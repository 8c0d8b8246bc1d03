"""Every score by its name, on small stems."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepexp.errors import UserError
from sepexp.metric import by_name, sdr, spectral
from sepexp.metric.by_name import leaks, track_scores
from sepexp.metric.card import lower_is_better
from sepexp.metric.over_tracks import OverTracks

RATE = 8000
Scene = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def scene() -> Scene:
    torch.manual_seed(0)
    references = 0.1 * torch.randn(2, 2, 2 * RATE)
    references[1, :, :RATE] = 0  # it pauses for a second
    references[1, :, RATE:] *= 0.01  # and is masked afterwards
    return references, references + 0.02 * references.flip(0) + 1e-4, references.sum(0)


def test_all_scores_give_a_number_a_target_and_tell_good_from_bad(scene: Scene) -> None:
    references, estimates, mixture = scene
    worse = estimates + 0.3 * references.flip(0) + 0.01 * torch.randn_like(estimates)
    for name, score in track_scores(["all"], RATE, 1.0, 1.0).items():
        good, bad = score(references, estimates, mixture), score(references, worse, mixture)
        assert good.shape == bad.shape == (2,), name
        known = ~good.isnan()
        assert known.any(), name
        gain = (bad - good if lower_is_better(name) else good - bad)[known]
        # SI-SIR is equal where only artefacts grow, and fullness where nothing is missing
        assert (gain >= 0).all() or name in ("fullness", "SI-SIR"), (name, good, bad)


def test_names_are_the_functions(scene: Scene) -> None:
    references, estimates, mixture = scene
    made = track_scores(["SI-SDR", "fullness"], RATE, 1.0, 1.0)
    assert torch.equal(made["SI-SDR"](*scene), sdr.si_sdr(references, estimates))
    assert torch.equal(made["fullness"](*scene), spectral.fullness(references, estimates, RATE))


def test_every_name_is_a_torchmetrics_metric_too(scene: Scene) -> None:
    score = track_scores(["log_wmse"], RATE, 1.0, 1.0)["log_wmse"]
    metric = OverTracks(score=score, needs_mixture=True)
    references, estimates, mixture = scene
    metric.update(estimates[None], references[None], mixture[None])
    assert torch.allclose(metric.compute()["mean"], score(*scene))


def test_leaks_are_named_after_the_reference(scene: Scene) -> None:
    references, estimates, _ = scene
    found = leaks(references, estimates, ["vocals", "drums"])
    assert list(found) == ["leak of vocals", "leak of drums"]
    # all of the vocals in their own estimate, a fiftieth (-34 dB) in the drums'
    assert found["leak of vocals"].tolist() == pytest.approx([0, -34], abs=0.3)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match="no score is called FOO: expected all or some of uSDR"):
        track_scores(["uSDR", "FOO"], RATE, 1.0, 1.0)
    assert by_name.chosen(["leak", "all", "leak"])[0] == "leak"
    assert len(by_name.chosen(["all"])) == len(by_name.MAKERS) + 1
