"""Median and mean over tracks, for any score."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from sepexp.errors import UserError
from sepexp.metric.log_wmse import log_wmse
from sepexp.metric.over_tracks import OverTracks
from sepexp.metric.sdr import csdr, framewise_sdr, nsdr, snr, usdr


def tracks(*errors: float) -> tuple[torch.Tensor, torch.Tensor]:
    references = torch.ones(len(errors), 2, 1, 100)
    offsets = torch.tensor(errors)[:, None, None, None] * torch.tensor([1.0, 2.0])[:, None, None]
    return references + offsets, references


def test_median_and_mean_stand_side_by_side() -> None:
    metric = OverTracks(score=usdr)
    metric.update(*tracks(0.1, 0.01))
    metric.update(*tracks(0.001, 0.1))
    result = metric.compute()
    assert float(result["median"][0]) == pytest.approx(30, abs=0.01)
    assert float(result["mean"][0]) == pytest.approx((20 + 40 + 60 + 20) / 4, abs=0.02)
    assert float(result["mean"][0] - result["mean"][1]) == pytest.approx(
        20 * math.log10(2), abs=0.02
    )
    metric.reset()
    metric.update(*tracks(0.1))
    assert float(metric.compute()["mean"][0]) == pytest.approx(20, abs=0.01)


def test_global_mean_weighs_by_length() -> None:
    metric = OverTracks(score=partial(nsdr, score=snr), needs_mixture=True)
    for samples, error in ((100, 0.1), (300, 0.01)):
        truth = torch.ones(1, 1, 1, samples)
        metric.update(truth + error, truth, 2 * truth[:, 0])  # the mixture has 0 dB
    result = metric.compute()
    assert float(result["mean"]) == pytest.approx(30, abs=1e-3)
    assert float(result["global"]) == pytest.approx(20 / 4 + 40 * 3 / 4, abs=1e-3)


def test_silent_targets_do_not_count() -> None:
    metric = OverTracks(score=partial(csdr, window=50, hop=50))
    estimates, references = tracks(0.1, 0.01)
    references[1, 0] = 0
    with pytest.warns(UserWarning, match="silent"):
        metric.update(estimates, references)
    assert float(metric.compute()["mean"][0]) == pytest.approx(20, abs=0.01)
    references[0, 0] = 0
    with pytest.warns(UserWarning, match="silent"):
        metric.reset()
        metric.update(estimates, references)
    assert math.isnan(metric.compute()["median"][0])


def test_hands_the_mixture_on() -> None:
    metric = OverTracks(score=partial(log_wmse, sample_rate=8000), needs_mixture=True)
    references = torch.randn(2, 1, 1, 8000)
    metric.update(references, references, references[:, 0])
    assert float(metric.compute()["mean"]) == pytest.approx(-4 * math.log(1e-8), abs=1e-3)
    with pytest.raises(UserError, match="mixture"):
        metric.update(references, references)


def test_framewise_shape() -> None:
    estimates, references = tracks(0.1)
    assert framewise_sdr(references[0], estimates[0], 30, 20).shape == (2, 4)
