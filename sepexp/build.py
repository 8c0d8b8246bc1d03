"""From a composed config, a plain dict, to the objects that it names.

The registry is the import system: `_target_` is a dotted path. A config that comes out of a
checkpoint may name only what lives in `sepexp.model` and `sepexp.nn`, or in a package that the
user names, because building what a stranger's file asks for is running the stranger's code.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sepexp.errors import UserError

MODEL_PACKAGES = ("sepexp.model", "sepexp.nn")


def instantiate(
    config: Any, *, allowed: Sequence[str] | None = None, where: str = "config", **extra: Any
) -> Any:
    """Build what a config describes, depth first.

    Args:
        config: A mapping with `_target_` becomes a call of that target with the other keys;
            `_partial_: true` binds the keys and leaves the call to its user. Other mappings and
            lists are walked through; everything else stands for itself.
        allowed: Dotted prefixes that a `_target_` must lie under; None allows all.
        where: The config's own name, for error messages.
        extra: Further keyword arguments of the outermost call.

    Raises:
        UserError: The target can't be found or isn't allowed, or a key isn't one of its arguments.
    """
    if isinstance(config, Mapping):
        values = {
            key: instantiate(value, allowed=allowed, where=f"{where}.{key}")
            for key, value in config.items()
            if key not in ("_target_", "_partial_")
        }
        if "_target_" not in config:
            return values
        values |= extra
        target = locate(str(config["_target_"]), allowed=allowed, where=where)
        if config.get("_partial_", False):
            return partial(target, **values)
        bind(target, values, where=where)
        return target(**values)
    if isinstance(config, list | tuple):
        return [instantiate(value, allowed=allowed, where=where) for value in config]
    return config


def locate(path: str, *, allowed: Sequence[str] | None = None, where: str = "config") -> Callable:
    """The class or function at a dotted path.

    Raises:
        UserError: Nothing is there, or it lies outside the allowed packages.
    """
    if allowed is not None and not any(path.startswith(f"{prefix}.") for prefix in allowed):
        raise UserError(
            f"{where} names {path}, but a checkpoint's config may only build from "
            f"{', '.join(allowed)}: if you trust the file, name its package with --trust PACKAGE"
        )
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name) if module else None
    except ModuleNotFoundError as error:
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            raise
        found = None
    except AttributeError:
        found = None
    if not callable(found):
        raise UserError(
            f"{where}._target_ is {path}, but there is no such class or function: "
            "expected a dotted path that Python can import from here"
        )
    return found


def bind(target: Callable, values: Mapping[str, Any], *, where: str) -> None:
    """Refuse a missing or unknown argument in a sentence instead of a stack trace."""
    try:
        inspect.signature(target).bind(**values)
    except TypeError as error:
        known = list(inspect.signature(target).parameters)
        strangers = [key for key in values if key not in known]
        hint = ""
        if strangers:
            near = difflib.get_close_matches(strangers[0], known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it takes {', '.join(known)}"
        raise UserError(
            f"{where} doesn't fit {getattr(target, '__name__', target)}: {error}{hint}"
        ) from None
    except ValueError:  # a builtin without a signature checks for itself
        return


def model(config: Mapping[str, Any], *, allowed: Sequence[str] | None = None) -> Any:
    """The model of a composed config (the whole config, not its `model` group)."""
    return instantiate(config["model"], allowed=allowed, where="model")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, without ever unpickling code.

    Raises:
        UserError: The file can't be read, or was not written by sepexp.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged or foreign file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} can't be read as a checkpoint of sepexp: {reason}") from None
    if "sepexp" not in content:
        raise UserError(f"{path} is no checkpoint of sepexp: it doesn't say which model it holds")
    return dict(content)


def load_model(
    path: Path, *, trust: Sequence[str] = ()
) -> tuple[nn.Module, dict[str, Any], list[str]]:
    """A model rebuilt from its checkpoint alone, in evaluation mode on the CPU.

    Where an EMA ran, its weights are the ones that come back, as they were validated.

    Args:
        path: A checkpoint of sepexp.
        trust: Further packages that its config may build the model from.

    Returns:
        The model, the composed config and the names of its targets in its order.

    Raises:
        UserError: The file is none of ours, or its weights don't fit the model that it names.
    """
    content = read_checkpoint(path)
    config = content["sepexp"]["config"]
    built = model(config, allowed=(*MODEL_PACKAGES, *trust))
    prefix = "model."
    weights = {
        key.removeprefix(prefix): value
        for key, value in content["state_dict"].items()
        if key.startswith(prefix)
    }
    try:
        built.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path} doesn't fit the model that it names: {error}") from None
    return built.eval(), config, list(content["sepexp"]["targets"])
