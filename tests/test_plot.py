from __future__ import annotations

import io
import sys

import numpy as np
from matplotlib.figure import Figure

from sepexp import plot


def _pixels(figure: Figure) -> np.ndarray:
    data = io.BytesIO()
    figure.savefig(data, format="rgba", dpi=50)
    return np.frombuffer(data.getvalue(), dtype=np.uint8)


def test_spectrograms_share_one_scale_and_show_the_tone() -> None:
    rate, time = 8000, np.arange(16000) / 8000
    tone = np.sin(2 * np.pi * 1000 * time)
    figure = plot.spectrogram_figure({"truth": np.stack([tone, tone]), "error": 0.01 * tone}, rate)
    loud, quiet = (axis.images[0] for axis in figure.axes[:2])
    row = np.asarray(loud.get_array())[:, 5].argmax()
    grid = np.geomspace(plot.LOWEST, rate / 2, plot.ROWS)
    assert abs(grid[row] / 1000 - 1) < 0.02
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()][4] == "1k"
    assert np.asarray(loud.get_array()).max() == 0
    assert abs(np.asarray(quiet.get_array()).max() + 40) < 0.1  # 0.01 is 40 dB less
    assert loud.get_clim() == quiet.get_clim()


def test_odd_input_draws_without_a_word() -> None:
    nan = float("nan")
    for figure in (
        plot.spectrogram_figure({"short": np.zeros(10), "$x_": np.zeros((2, 5000))}, 8000),
        plot.spectrogram_figure({}, 8000),
        plot.curves_figure({"_a $x": ([0, 1], [nan, 1.0]), "b": ([], [])}, title="$"),
        plot.boxes_figure({"vocals": {"a": [1.0, nan], "b": []}, "bass": {}}),
        plot.boxes_figure({}),
        plot.scores_over_time_figure(np.zeros(100), 8000, {"a": [nan, 1.0]}),
        plot.pareto_figure({"a": (0.0, 1.0), "b": (nan, 1.0)}, x_label="cost"),
    ):
        assert _pixels(figure).size


def test_boxes_hold_every_track() -> None:
    figure = plot.boxes_figure({"vocals": {"a": [1.0, 2.0, 9.0]}, "bass": {"b": [4.0]}})
    dots = [
        line.get_ydata() for line in figure.axes[0].lines if line.get_marker() == "."
    ]  # one series a box
    assert [sorted(y) for y in dots] == [[1.0, 2.0, 9.0], [4.0]]


def test_boxes_count_what_lies_outside() -> None:
    tracks = [*np.linspace(0, 4, 20), -80.0, -70.0, 300.0]
    figure = plot.boxes_figure({"bass": {"a": tracks}})
    low, high = figure.axes[0].get_ylim()
    assert -2 < low < 0 and 4 < high < 6
    assert {text.get_text() for text in figure.axes[0].texts} == {"2 below", "1 above"}


def test_pareto_front() -> None:
    points = {"a": (1.0, 5.0), "b": (2.0, 4.0), "c": (3.0, 6.0), "d": (3.0, 7.0), "e": (9.0, 7.0)}
    assert plot.pareto_front(points) == ["a", "d"]
    figure = plot.pareto_figure(points, x_label="cost")
    assert figure.axes[0].get_xscale() == "log"


def test_nothing_global_is_touched() -> None:
    plot.curves_figure({"a": ([0, 1], [0, 1])})
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
