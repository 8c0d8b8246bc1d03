"""Compose a config outside Hydra's own main: for commands, tests and pages."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf


def conf_dir() -> Path:
    """The config folder: beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).resolve().parent.parent
    checkout = package.parent / "conf"
    return checkout if (checkout / "train.yaml").is_file() else package / "conf"


def recipes_dir() -> Path:
    """The folder in which `experiments=<study>/<recipe>` is looked for below `experiments/`.

    The checkout's root, or the current folder where sepexp is installed as a wheel.
    """
    checkout = conf_dir().parent
    return checkout if (checkout / "experiments").is_dir() else Path.cwd()


@cache
def _recipes_alone(folder: Path) -> Path:
    """A folder with a link to `folder/experiments` and nothing else.

    Hydra takes every folder beside it for a config group: with `runs/` there, `runs=PATH` would
    choose from a group.
    """
    alone = Path(tempfile.mkdtemp(prefix="sepexp-recipes-"))
    atexit.register(shutil.rmtree, alone, ignore_errors=True)
    if (folder / "experiments").is_dir():
        try:
            (alone / "experiments").symlink_to((folder / "experiments").resolve())
        except OSError:  # a system without links
            return folder
    return alone


def register_resolvers() -> None:
    """Resolvers that the YAML files use: `${len:${targets}}` counts a list."""
    OmegaConf.register_new_resolver("len", len, replace=True)
    OmegaConf.register_new_resolver(
        "recipes_dir", lambda: str(_recipes_alone(recipes_dir())), replace=True
    )


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The composed config, unresolved, as the training command would see it."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra_compose("train", overrides=list(overrides))


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain, resolved Python: what run folders and checkpoints keep."""
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}
