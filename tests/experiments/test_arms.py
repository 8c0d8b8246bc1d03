"""Arms of the sweeps under experiments/: what differs between them and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from sepexp import build
from sepexp.cli.compose import compose, plain, recipes_dir


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(value, dict) or not value:
        return {prefix: json.dumps(value)}
    return {k: v for key, part in value.items() for k, v in flat(part, f"{prefix}.{key}").items()}


def arm(study: str, recipe: str, name: str, *overrides: str) -> dict[str, Any]:
    chosen = [f"experiments={study}/{recipe}", f"experiments/{study}/arm={name}", *overrides]
    config = plain(compose(chosen))
    assert config["model"]["targets"] == 4
    return config


def names(study: str) -> list[str]:
    return sorted(path.stem for path in (recipes_dir() / "experiments" / study / "arm").iterdir())


def swept(study: str, recipe: str) -> dict[str, str]:
    """The sweep that the recipe itself asks for."""
    from omegaconf import OmegaConf

    path = recipes_dir() / "experiments" / study / f"{recipe}.yaml"
    return OmegaConf.to_container(OmegaConf.load(path))["hydra"]["sweeper"]["params"]


@pytest.mark.parametrize("size", ["small", "published"])
@pytest.mark.parametrize(
    ("name", "setting"),
    [("no_rescaling", ".model.rescale"), ("no_bilstm", ".model.lstm_layers")]
    + [("relu", ".model.activation"), ("mse", ".loss._target_")],
)
def test_an_arm_of_the_ablation_differs_in_one_setting(size: str, name: str, setting: str) -> None:
    at = f"experiments/demucs_ablation/size={size}"
    reference = flat(arm("demucs_ablation", "ablation", "reference", at))
    other = flat(arm("demucs_ablation", "ablation", name, at))
    assert reference.keys() == other.keys()
    assert [key for key in reference if reference[key] != other[key]] == [setting]


@pytest.mark.parametrize(
    ("study", "recipe"), [("demucs_ablation", "ablation"), ("mrcae_lengths", "lengths")]
)
def test_the_sweep_names_every_arm_and_three_seeds(study: str, recipe: str) -> None:
    params = swept(study, recipe)
    assert sorted(params[f"experiments/{study}/arm"].split(",")) == names(study)
    assert params["seed"] == "1,2,3"


def test_the_published_ablation_is_the_published_network() -> None:
    config = arm(
        "demucs_ablation", "ablation", "reference", "experiments/demucs_ablation/size=published"
    )
    with torch.device("meta"):
        model = build.model(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 648_548_208
    assert config["inference"]["shifts"] == 10 and config["data"]["batch_size"] == 64


def test_filter_lengths_compete_at_equal_size() -> None:
    counts = {}
    for name in names("mrcae_lengths"):
        config = arm("mrcae_lengths", "lengths", name)
        with torch.device("meta"):
            model = build.model(config)
        counts[name] = sum(parameter.numel() for parameter in model.parameters())
        assert (len(config["model"]["kernels"]) > 1) == (name == "several")
    assert counts["several"] == 326_752
    for name, count in counts.items():
        assert count == pytest.approx(counts["several"], rel=0.01), name
