"""The museval backend: its own numbers, and NaN where it raises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from sepexp.errors import UserError
from sepexp.metric.museval_backend import bss_eval, load_museval


def test_is_museval(stems: Callable) -> None:
    references, estimates = stems(samples=4100)
    theirs = load_museval().metrics.bss_eval(references, estimates, window=2000, hop=2000)
    np.testing.assert_array_equal(np.array(bss_eval(references, estimates, 2000, 2000)), theirs[:4])


@pytest.mark.parametrize("where", ["reference", "estimate"])
def test_silent_source_is_nan_and_the_others_stand(where: str, stems: Callable) -> None:
    references, estimates = stems(sources=3, samples=4100)
    (references if where == "reference" else estimates)[1] = 0
    with pytest.warns(UserWarning, match=r"\[1\]"):
        scores = np.array(bss_eval(references, estimates, 2000, 2000))
    alone = np.array(bss_eval(references[[0, 2]], estimates[[0, 2]], 2000, 2000))
    assert np.isnan(scores[:, 1]).all()
    np.testing.assert_array_equal(scores[:, [0, 2]], alone)


def test_everything_silent() -> None:
    with pytest.warns(UserWarning):
        scores = bss_eval(np.zeros((2, 100, 1)), np.zeros((2, 100, 1)), 50, 50)
    assert scores.sdr.shape == (2, 2) and np.isnan(scores).all()


def test_refuses_other_lengths() -> None:
    with pytest.raises(UserError, match="same"):
        bss_eval(np.ones((1, 10, 1)), np.ones((1, 11, 1)), 5, 5)


def test_imports_without_ffmpeg() -> None:
    code = "from sepexp.metric.museval_backend import load_museval; load_museval().EvalStore()"
    done = subprocess.run([sys.executable, "-c", code], env={"PATH": ""}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
