"""Who may import whom: downwards only, never sideways."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sepexp"
LAYERS = {
    -1: ["errors"],
    0: ["dsp", "audio", "plot", "separation"],
    1: ["nn"],
    2: ["model", "loss", "augmentation", "metric", "data", "baseline"],
    3: ["inference", "trainer", "build", "guard", "run"],
    4: ["separator", "evaluation", "weights", "preflight", "report"],
    5: ["cli"],
    6: ["__main__"],
}
LAYER = {room: layer for layer, rooms in LAYERS.items() for room in rooms}
LIGHTNING = {"separator", "trainer", "data", "cli"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        assert path.read_text() == ""
        return
    assert here in LAYER, f"{here} has no layer in the table"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "lightning":
            assert here in LIGHTNING, f"{path} imports {name}"
        if parts[0] in ("hydra", "omegaconf"):
            assert here == "cli", f"{path} imports {name}"
        if parts[0] != "sepexp" or len(parts) < 2 or parts[1] == here:
            continue
        if parts[1] in LAYER:
            assert LAYER[parts[1]] < LAYER[here], f"{path} imports {name}"


def test_package_inits_are_empty() -> None:
    assert all(p.read_text() == "" for p in PACKAGE.rglob("__init__.py"))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--cfg", "job", "data=demo"]], ids=["help", "cfg"]
)
def test_no_torch_to_show_a_config(arguments: list[str]) -> None:
    script = (
        "import sys, sepexp.__main__ as m\n"
        f"sys.argv = ['sepexp', *{arguments!r}]\n"
        "try:\n    m.main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'lightning', 'wandb'} & set(sys.modules), 'heavy import'\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "heavy" not in result.stderr and result.stdout


@pytest.mark.parametrize(
    "module", ["sepexp.report.table", "sepexp.data.chunks", "sepexp.__main__", "sepexp.cli.train"]
)
def test_stays_light(module: str) -> None:
    script = f"import sys, {module}; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
