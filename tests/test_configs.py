"""Every YAML composes, binds to its constructor and builds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from specs import MODELS

from sepexp import build
from sepexp.cli.compose import compose, conf_dir, plain
from sepexp.cli.stream import make_stream
from sepexp.errors import UserError

GROUPS = ("loss", "data", "augmentation", "optimizer", "scheduler", "trainer")


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def test_every_model_has_a_row() -> None:
    rows = {spec.config for spec in MODELS}
    assert set(choices("model")) - rows == set(), "add a row to tests/specs.py"
    assert rows - set(choices("model")) == set()


@pytest.mark.parametrize("choice", choices("model"))
def test_model_builds_at_its_own_size(choice: str) -> None:
    config = plain(compose([f"model={choice}"]))
    assert config["model"]["_target_"].startswith("sepexp.model.")
    with torch.device("meta"):
        build.model(config, allowed=build.MODEL_PACKAGES)


@pytest.mark.parametrize(
    ("group", "choice"), [(g, c) for g in GROUPS for c in choices(g)], ids=lambda x: x
)
def test_group_builds(group: str, choice: str, tmp_path: Path) -> None:
    overrides = [f"{group}={choice}", f"folder={tmp_path}", "data.corpus.root=x"]
    if (group, choice) == ("data", "demo") or group != "data":
        overrides = overrides[:-1]
    config = plain(compose(overrides))
    block = config[group]
    if group == "data":
        make_stream(config)
    elif group == "trainer":
        for part in ("callbacks", "logger"):
            for name, settings in (block.pop(part) or {}).items():
                build.instantiate(settings, where=name)
        build.bind(build.locate(block.pop("_target_")), block, where="trainer")
    elif group == "optimizer":
        optimizer = build.instantiate(block, where=group)([torch.nn.Parameter(torch.zeros(2))])
        assert isinstance(optimizer, torch.optim.Optimizer)
    elif group == "scheduler":
        make = build.instantiate(block, where=group)["scheduler"]
        if make is not None:
            make(torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1))
    else:
        build.instantiate(block, where=group)


def test_unknown_key_is_refused_with_the_near_match() -> None:
    config = plain(compose(["+model.kernal=3"]))
    with pytest.raises(UserError, match="kernal"):
        build.model(config)


def test_a_checkpoints_config_builds_models_only() -> None:
    harmful = {"model": {"_target_": "pathlib.Path.unlink", "self": "x"}}
    with pytest.raises(UserError, match="--trust"):
        build.model(harmful, allowed=build.MODEL_PACKAGES)
    nested = {"model": {"_target_": "sepexp.model.x.Y", "part": {"_target_": "os.system"}}}
    with pytest.raises(UserError, match="--trust"):
        build.model(nested, allowed=build.MODEL_PACKAGES)


STUDIES = conf_dir().parent / "experiments"
RECIPES = [
    str(path.relative_to(STUDIES).with_suffix(""))
    for folder in ("*", "survey/small")
    for path in sorted(STUDIES.glob(f"{folder}/[!_]*.yaml"))
]


def test_folders_beside_the_recipes_are_no_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiments" / "mine").mkdir(parents=True)
    (tmp_path / "experiments" / "mine" / "one.yaml").write_text("# @package _global_\nseed: 7\n")
    (tmp_path / "runs").mkdir()  # as every training leaves it
    monkeypatch.setattr("sepexp.cli.compose.recipes_dir", lambda: tmp_path)
    config = compose(["experiments=mine/one", "runs=elsewhere"])
    assert (config.seed, config.runs) == (7, "elsewhere")


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_builds(recipe: str) -> None:
    config = plain(compose([f"experiments={recipe}"]))
    with torch.device("meta"):
        build.model(config)
    build.instantiate(config["loss"], where="loss")
    make_stream(config)
