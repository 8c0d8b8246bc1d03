"""Distances of embeddings: hand-worked values with embedders that need no network."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from sepexp.errors import UserError
from sepexp.metric import embedding
from sepexp.metric.embedding import embedding_distance, frechet_audio_distance, frechet_distance

RATE = 8000


def levels(audio: Tensor, sample_rate: int) -> Tensor:
    """RMS of each tenth of a second, both channels: (frames, 2)."""
    cuts = audio.unfold(-1, sample_rate // 10, sample_rate // 10)
    return cuts.square().mean(-1).sqrt().T


def test_frechet_distance_by_hand() -> None:
    # means 0 and 3, variances 2 and 8: 9 + (sqrt 8 - sqrt 2)^2 = 11
    first, second = torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [5.0]])
    assert float(frechet_distance(first, second)) == pytest.approx(11)
    assert float(frechet_distance(second, first)) == pytest.approx(11)
    # uncorrelated features add up
    cross = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    wide = torch.tensor([[3.0, 0], [-3, 0], [0, 2], [0, -2]])
    expected = (2 / 3) * ((3 - 1) ** 2 + (2 - 1) ** 2)
    assert float(frechet_distance(cross, wide)) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_is_the_formula_with_a_matrix_root() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(size=(50, 6)) @ generator.normal(size=(6, 6))
    second = generator.normal(size=(40, 6)) @ generator.normal(size=(6, 6)) + 0.5
    left, right = np.cov(first.T), np.cov(second.T)
    root = scipy.linalg.sqrtm(left @ right).real
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(left + right - 2 * root)
    found = frechet_distance(torch.from_numpy(first), torch.from_numpy(second))
    assert float(found) == pytest.approx(expected, rel=1e-9)
    few = torch.from_numpy(first[:3])  # fewer frames than features: a singular covariance
    assert float(frechet_distance(few, few)) == pytest.approx(0, abs=1e-9)


def test_distances_of_signals() -> None:
    torch.manual_seed(0)
    references = torch.randn(3, 2, RATE) * torch.linspace(0.1, 1, RATE)
    estimates = references.clone()
    estimates[1] *= 2
    references[2] = 0
    fad = frechet_audio_distance(references, estimates, RATE, levels)
    paired = embedding_distance(references, estimates, RATE, levels)
    assert float(fad[0]) == pytest.approx(0, abs=1e-9) and float(paired[0]) == 0
    cloud = levels(references[1], RATE)
    assert float(paired[1]) == pytest.approx(float(cloud.square().mean()), rel=1e-6)
    # twice as loud doubles mean and deviation: |m|^2 + tr S
    spread = float(cloud.mean(0).square().sum() + cloud.var(0).sum())
    assert float(fad[1]) == pytest.approx(spread, rel=1e-5)
    assert math.isnan(fad[2]) and math.isnan(paired[2])
    # in another order the clouds are the same, the moments are not
    late = estimates.roll(RATE // 2, -1)
    assert float(frechet_audio_distance(estimates[:1], late[:1], RATE, levels)) < 1e-9
    assert float(embedding_distance(estimates[:1], late[:1], RATE, levels)) > 0.01


def test_windows_are_full_or_padded() -> None:
    assert embedding._windows(torch.arange(10.0), 4, 2).tolist()[-1] == [6, 7, 8, 9]
    assert embedding._windows(torch.ones(3), 4, 2).tolist() == [[1, 1, 1, 0]]


def test_refuses_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="two or more frames"):
        frechet_distance(torch.ones(1, 2), torch.ones(3, 2))
    with pytest.raises(UserError, match="expected the same"):
        embedding_distance(torch.ones(1, 2, 9), torch.ones(2, 2, 9), RATE, levels)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"sepexp\[embedding\]"):
        embedding.clap()


@pytest.fixture
def transformers() -> Any:
    return pytest.importorskip("transformers")


def test_clap_of_a_small_folder(transformers: Any, tmp_path: Path) -> None:
    audio = {
        "patch_embeds_hidden_size": 16, "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2],
        "hidden_size": 128,
    }  # fmt: skip
    text = {
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 8, "vocab_size": 10,
    }  # fmt: skip
    settings = transformers.ClapConfig(audio_config=audio, text_config=text, projection_dim=8)
    transformers.ClapModel(settings).save_pretrained(tmp_path)
    extractor = transformers.ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad")
    extractor.save_pretrained(tmp_path)
    embed = embedding.clap(str(tmp_path))
    frames = embed(0.1 * torch.randn(2, 12 * RATE), RATE)
    assert frames.shape == (3, 8) and frames.isfinite().all()
    with pytest.raises(UserError):
        embedding.mert(str(tmp_path))  # another network's weights


def test_mert_of_a_small_folder(transformers: Any, tmp_path: Path) -> None:
    settings = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        conv_dim=[8] * 7,
    )  # fmt: skip
    transformers.HubertModel(settings).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=24000).save_pretrained(tmp_path)
    embed = embedding.mert(str(tmp_path))
    # 320 samples a frame at 24 kHz: 75 a second, less the filters' ends
    assert embed(0.1 * torch.randn(2, 10 * RATE), RATE).shape == (2 * 374, 16)


@pytest.mark.network
@pytest.mark.parametrize("network", [embedding.clap, embedding.mert])
def test_published_weights(transformers: Any, network: Any) -> None:
    frames = network()(0.1 * torch.randn(1, 480_000), 48_000)
    assert frames.isfinite().all() and frames.shape[1] in (512, 768)
