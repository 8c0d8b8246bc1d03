"""The training command: Hydra composes, the experiment runs, mistakes end in a sentence."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sepexp.cli.commands import COMMANDS
from sepexp.cli.compose import compose, conf_dir, plain, register_resolvers
from sepexp.cli.mistakes import leave, one_sentence


def main() -> None:
    """Run Hydra on the command line."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, and we say them
    register_resolvers()
    OmegaConf.register_new_resolver("version", _version, replace=True)
    OmegaConf.register_new_resolver("commands", _commands, replace=True)
    command = hydra.main(config_path=str(conf_dir()), config_name="train", version_base="1.3")
    composing(one_sentence, command(job))


def composing(entry: Callable[..., Any], *arguments: Any) -> None:
    """Call what composes a config; a misspelled override ends in a sentence and exit code 2."""
    try:
        entry(*arguments)
    except OverrideParseException as error:
        leave(f"can't read the override {error.override!r}: expected key=value or group=choice")
    except MissingConfigException as error:
        leave(_missing(error))
    except (ConfigCompositionException, HydraException, OmegaConfBaseException) as error:
        leave(_composition(error))


def job(config: DictConfig) -> None:
    """One run: everything heavy is imported here, after the config is known to be sound."""
    config.folder = os.path.abspath(HydraConfig.get().runtime.output_dir)
    overrides = list(HydraConfig.get().overrides.task)
    settings = plain(config)
    from sepexp.cli.experiment import run

    run(settings, overrides)


def _version() -> str:
    try:
        return metadata.version("sepexp")
    except metadata.PackageNotFoundError:
        return ""


def _commands() -> str:
    return ", ".join(COMMANDS)


def _missing(error: MissingConfigException) -> str:
    """Unknown group choice, or unknown group."""
    lost = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, choice = lost.rpartition("/")
    options = list(error.options or [])
    near = difflib.get_close_matches(choice, options, n=1)
    hint = f"; did you mean {group}={near[0]}?" if near else ""
    known = f": there are {', '.join(options)}" if options else ""
    return f"there is no {group}={choice}{hint or known}"


def _composition(error: Exception) -> str:
    """Unknown keys with the nearest known one, and whatever else composing refused."""
    cause = error.__cause__ or error
    key = getattr(cause, "full_key", None)
    if key and "not in struct" in str(cause):
        return f"unknown key {key}{_near(str(key), sys.argv[1:])}"
    text = " ".join(str(part) for part in (error, error.__cause__) if part)
    for argument in sys.argv[1:]:
        name = argument.lstrip("+~").split("=")[0]
        if f"'{name}'" in text and "No match in the defaults list" in text:
            return f"unknown key or group {name}{_near(name, sys.argv[1:])}"
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return f"the config can't be composed: {first}"


def _near(key: str, arguments: list[str]) -> str:
    """A hint at the nearest key of the config with the same groups chosen."""
    groups = [a for a in arguments if "=" in a and a.split("=")[0] in _group_names()]
    try:
        known = list(_keys(OmegaConf.to_container(compose([a for a in groups if "," not in a]))))
    except (HydraException, OmegaConfBaseException):
        known = list(_keys(OmegaConf.to_container(compose())))
    near = difflib.get_close_matches(key, known, n=1)
    return f": did you mean {near[0]}?" if near else ": --cfg job prints all keys"


def _group_names() -> list[str]:
    return [path.name for path in conf_dir().iterdir() if path.is_dir()]


def _keys(tree: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of everything in a nested dict."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")
