"""Every set of augmentations composes, builds and holds what was published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from sepexp.augmentation.chain import Augmentations
from sepexp.build import instantiate
from sepexp.cli.compose import conf_dir

FOUND = sorted(path.stem for path in (Path(conf_dir()) / "augmentation").glob("*.yaml"))


def built(name: str, *overrides: str) -> Augmentations:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(f"augmentation/{name}", overrides=list(overrides))
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return instantiate(plain["augmentation"])


HELD = {
    "none": set(),
    "survey": {"remix", "tempo", "pitch", "gain", "swap"},
    "demucs": {"remix", "tempo", "pitch", "gain", "swap", "polarity"},
    "open_unmix": {"remix", "gain", "swap"},
}


@pytest.mark.parametrize("name", FOUND)
def test_every_set_builds(name: str) -> None:
    assert set(built(name).members) == HELD[name]


def test_the_default_has_the_published_ranges() -> None:
    held = built("survey").members
    assert held["remix"].p == 1 and held["swap"].p == 0.5
    assert (held["gain"].low, held["gain"].high) == (0.25, 1.25)
    assert (held["pitch"].p, held["pitch"].semitones) == (0.2, 2)
    tempo = held["tempo"]
    assert (tempo.p, tempo.deviation, tempo.limit) == (0.2, 0.05, 0.12)


def test_each_can_be_switched_off_alone() -> None:
    assert set(built("survey", "augmentation.pitch=null").members) == HELD["survey"] - {"pitch"}
