"""Configs become objects, and only the allowed ones from a file."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
import torch

from sepexp import build
from sepexp.errors import UserError


def test_nested_targets_and_partials() -> None:
    config = {
        "_target_": "fractions.Fraction",
        "numerator": {"_target_": "fractions.Fraction", "numerator": 1, "denominator": 2},
        "denominator": 3,
    }
    assert build.instantiate(config) == Fraction(1, 6)
    bound = build.instantiate({"_target_": "builtins.int", "_partial_": True, "base": 2})
    assert isinstance(bound, partial) and bound("101") == 5


def test_unknown_target_and_key() -> None:
    with pytest.raises(UserError, match="no such class"):
        build.instantiate({"_target_": "sepexp.model.nothing.Here"}, where="model")
    with pytest.raises(UserError, match="did you mean numerator"):
        build.instantiate({"_target_": "fractions.Fraction", "numerater": 1})


def test_a_module_that_fails_inside_keeps_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brokenmodel.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
        build.instantiate({"_target_": "brokenmodel.Model"})


def test_checkpoints_never_unpickle_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    torch.save({"sepexp": Path("x"), "state_dict": {}}, path)
    with pytest.raises(UserError, match="can't be read"):
        build.load_model(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(UserError, match="no checkpoint of sepexp"):
        build.load_model(path)
    path.write_bytes(b"half")
    with pytest.raises(UserError, match="can't be read"):
        build.load_model(path)
