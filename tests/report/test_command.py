from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sepexp.cli import report
from sepexp.errors import UserError

MakeRun = Callable[..., Path]


def test_command_prints_tables_verdicts_and_survey(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("glu", "relu"):
        run = make_run(f"s/{name}", overrides={"model.activation": name})
    report.main([str(run.parent)])
    text = capsys.readouterr().out
    assert "SDR in dB (BSSEval v4, framewise), 2 runs" in text
    assert "model.activation glu against relu: " in text
    assert "this checkpoint against that one" in text and "Ablation" not in text
    report.main([str(run.parent), "--latex", "--metric", "uSDR"])
    text = capsys.readouterr().out
    assert text.count(r"\toprule") == 2 and "\n% model.activation" in text
    monkeypatch.setattr(report, "parameters", lambda settings: None)
    report.main(["--survey", "--markdown"])
    assert "### Ablation of Demucs, published" in capsys.readouterr().out


def test_command_refuses_nothing_at_all() -> None:
    with pytest.raises(UserError, match="at least one run folder"):
        report.main([])
