"""Arrays to figures: spectrograms, learning curves, boxes, scores over time, score against cost.

Every function returns a matplotlib `Figure` made through the object interface, so nothing global
is touched and no window system is needed. Matplotlib is imported where it is used: whoever imports
this module pays nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR = -80.0  # dB under the loudest bin: quieter ones show as black
LOWEST, ROWS = 40.0, 256  # Hz of a spectrogram's lowest row; number of rows
OCTAVES = (62.5, 125, 250, 500, 1000, 2000, 4000, 8000, 16000)  # Hz
COLOURS = ("#3b6fb6", "#d9822b", "#3f9b6d", "#b8494b", "#7d5ba6", "#8a8d91", "#c2a02f", "#2f9fb0")
MARKS = "osD^vPX*"


def new_figure(width: float, height: float, *, arranged: bool = True) -> Figure:
    """An empty figure of a size in inches; `arranged` makes room for labels by itself."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained" if arranged else None)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Any, *, dpi: int = 120) -> None:
    """Write a figure; the file's ending says how (png, svg, pdf)."""
    figure.savefig(path, dpi=dpi)


def spectrogram_figure(
    signals: Mapping[str, np.ndarray],
    sample_rate: int,
    *,
    n_fft: int = 2048,
    hop: int = 512,
    title: str = "",
) -> Figure:
    """Spectrograms under each other on one colour scale: truth, estimate and error, say.

    0 dB is the loudest bin of all signals, so a quiet error looks quiet. Frequency runs in octaves.

    Shape:
        signals: name -> (samples,) or (channels, samples); channels are averaged in power.
    """
    grid = np.geomspace(LOWEST, max(sample_rate / 2, 2 * LOWEST), ROWS)  # Hz of each row
    rows = np.minimum(np.rint(grid * n_fft / sample_rate).astype(int), n_fft // 2)
    powers = {name: _power(signal, n_fft, hop)[rows] for name, signal in signals.items()}
    loudest = max([float(power.max(initial=0.0)) for power in powers.values()], default=0.0)
    loudest = max(loudest, 1e-20)
    height = 0.9 + 1.8 * max(1, len(powers))
    # arranging by itself would take matplotlib longer than drawing
    figure = new_figure(9.0, height, arranged=False)
    edges = {"left": 0.075, "right": 0.9, "bottom": 0.5 / height, "top": 1 - 0.4 / height}
    axes = np.atleast_1d(np.asarray(figure.subplots(max(1, len(powers)), 1, sharex=True)))
    figure.subplots_adjust(**edges, hspace=0.25)
    picture = None
    for axis, (name, power) in zip(axes, powers.items(), strict=False):
        level = 10 * np.log10(np.maximum(power / loudest, 10 ** (FLOOR / 10)))
        end = power.shape[1] * hop / sample_rate
        picture = axis.imshow(
            level,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=FLOOR,
            vmax=0.0,
            extent=(0.0, end, 0, ROWS),
            interpolation="nearest",
        )
        octaves = [hertz for hertz in OCTAVES if hertz <= grid[-1]]
        axis.set_yticks(np.searchsorted(grid, octaves), [_hertz(hertz) for hertz in octaves])
        axis.set_ylabel("frequency (Hz)" if len(powers) < 3 else "Hz")
        axis.set_title(_literal(name), loc="left", fontsize=9)
    axes[-1].set_xlabel("time (s)")
    if picture is not None:
        bar = figure.add_axes((0.915, edges["bottom"], 0.015, edges["top"] - edges["bottom"]))
        figure.colorbar(picture, cax=bar, label="level (dB, loudest bin 0)")
    _name(figure, title)
    return figure


def curves_figure(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str = "epoch",
    y_label: str = "",
    title: str = "",
    families: Mapping[str, str] | None = None,
) -> Figure:
    """Lines over a common axis: learning curves of one run or many.

    Args:
        families: Curve -> what its colour and its entry in the legend stand for, such as all
            seeds of one setting; each for itself where nothing is said.

    Shape:
        curves: name -> (x, y) of equal length; NaN values leave gaps.
    """
    figure = new_figure(7.0, 4.0)
    axis = figure.subplots()
    kin = {name: (families or {}).get(name, name) for name in curves}
    places = list(dict.fromkeys(kin.values()))
    named: set[str] = set()
    for name, (x, y) in curves.items():
        mark = "." if len(x) < 40 else ""
        label = None if kin[name] in named else _literal(kin[name])
        named.add(kin[name])
        colour = _colour(places.index(kin[name]))
        width = 1.6 if len(places) == len(curves) else 1.1
        axis.plot(x, y, label=label, color=colour, marker=mark, markersize=4, linewidth=width)
    _dress(axis, x_label, y_label)
    if len(curves) > 1:
        _legend(figure, places)
    _name(figure, title)
    return figure


def boxes_figure(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    y_label: str = "SDR (dB)",
    title: str = "",
) -> Figure:
    """Boxes of scores over tracks, grouped by source, one colour a system, every track a dot.

    A box holds the middle half of the tracks, its line is the median and its diamond the mean.
    Tracks far out are left outside the axis, and their number is written there.

    Args:
        values: source -> system -> one number a track; NaN is left out.
    """
    systems = list(dict.fromkeys(name for group in values.values() for name in group))
    figure = new_figure(max(6.0, 1.2 + 0.45 * len(systems) * max(1, len(values))), 4.2)
    axis = figure.subplots()
    width = 0.8 / max(1, len(systems))
    for place, group in enumerate(values.values()):
        for index, system in enumerate(systems):
            numbers = np.asarray(group.get(system, ()), dtype=float)
            numbers = numbers[np.isfinite(numbers)]
            if len(numbers):
                at = place + (index - (len(systems) - 1) / 2) * width
                _box(axis, numbers, at, 0.8 * width, _colour(index))
    _cut(axis, [float(v) for group in values.values() for one in group.values() for v in one])
    for index, system in enumerate(systems):
        axis.plot([], [], color=_colour(index), linewidth=6, alpha=0.5, label=_literal(system))
    axis.set_xticks(range(len(values)), [_literal(name) for name in values])
    axis.set_xlim(-0.6, max(1, len(values)) - 0.4)
    axis.axhline(0.0, color="#999999", linewidth=0.8)
    _dress(axis, "", y_label)
    if systems:
        _legend(figure, systems)
    _name(figure, title)
    return figure


def scores_over_time_figure(
    waveform: np.ndarray,
    sample_rate: int,
    scores: Mapping[str, Sequence[float]],
    *,
    hop: float = 1.0,
    y_label: str = "SDR (dB)",
    title: str = "",
) -> Figure:
    """Framewise scores above the waveform that they were measured on; NaN frames leave gaps.

    Args:
        waveform: The true source.
        scores: System -> one number a frame.
        hop: Seconds between frames.

    Shape:
        waveform (samples,) or (channels, samples).
    """
    figure = new_figure(9.0, 4.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for index, (name, values) in enumerate(scores.items()):
        edges = np.arange(len(values) + 1) * hop
        above.stairs(
            np.asarray(values, dtype=float),
            edges,
            baseline=None,
            color=_colour(index),
            linewidth=1.8,
            label=_literal(name),
        )
    _dress(above, "", y_label)
    if scores:
        _legend(figure, list(scores))
    low, high = _envelope(waveform, 1500)
    seconds = np.linspace(0, np.shape(waveform)[-1] / sample_rate, len(low))
    below.fill_between(seconds, low, high, color="#555555", linewidth=0)
    _dress(below, "time (s)", "truth")
    below.set_yticks([])
    above.margins(x=0.01)
    _name(figure, title)
    return figure


def pareto_figure(
    points: Mapping[str, tuple[float, float]],
    *,
    x_label: str,
    y_label: str = "SDR (dB)",
    title: str = "",
    reach: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Score against cost on a logarithmic axis; the line joins what nothing cheaper beats.

    Args:
        points: name -> (cost, score).
        reach: name -> lowest and highest score of the same setting, drawn as a whisker.
    """
    figure = new_figure(7.0, 4.4)
    axis = figure.subplots()
    known = {n: (x, y) for n, (x, y) in points.items() if np.isfinite([x, y]).all() and x > 0}
    costs_known = [x for x, _ in known.values()]
    front = pareto_front(known)
    if len(front) > 1:
        costs, best = zip(*(known[name] for name in front), strict=True)
        axis.step(costs, best, where="post", color="#999999", linewidth=1.2, zorder=1)
    for index, (name, (x, y)) in enumerate(known.items()):
        filled = _colour(index) if name in front else "white"
        mark = MARKS[index // len(COLOURS) % len(MARKS)]
        axis.scatter([x], [y], s=48, color=filled, edgecolors=_colour(index), marker=mark, zorder=2)
        if reach and name in reach:
            axis.vlines([x], *reach[name], color=_colour(index), linewidth=1.2, zorder=1)
        # names stand on the outer side of the points, where the axis leaves room for them, and of
        # neighbours in cost one above and one below
        above = sorted(costs_known).index(x) % 2 == 0
        right = x * x >= min(costs_known) * max(costs_known)
        axis.annotate(
            _literal(name),
            (x, y),
            xytext=(8 if right else -8, 4 if above else -12),
            textcoords="offset points",
            fontsize=8,
            horizontalalignment="left" if right else "right",
        )
    _cost_axis(axis, costs_known)
    axis.margins(y=0.15)
    _dress(axis, x_label, y_label)
    _name(figure, title)
    return figure


def _cost_axis(axis: Axes, costs: Sequence[float]) -> None:
    """A logarithmic axis in plain numbers, at least a factor of four wide, with room for names."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axis.set_xscale("log")
    if costs:
        low, high = min(costs), max(costs)
        wide = max(2 / (high / low) ** 0.5, 1.2 * (high / low) ** 0.25)
        axis.set_xlim(low / wide, high * wide)
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.xaxis.set_minor_formatter(NullFormatter())


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the points that no other beats in score without costing more, cheapest first."""
    front: list[str] = []
    best = float("-inf")
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if points[name][1] > best:
            front.append(name)
            best = points[name][1]
    return front


def _hertz(hertz: float) -> str:
    return f"{hertz / 1000:g}k" if hertz >= 1000 else f"{hertz:g}"


def _power(signal: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Power spectrogram (freq, frames), channels averaged; short signals are padded."""
    audio = np.atleast_2d(np.asarray(signal, dtype=np.float32))
    missing = max(0, n_fft - audio.shape[-1])
    audio = np.pad(audio, ((0, 0), (0, missing)))
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(audio, n_fft, axis=-1)[:, ::hop]
    power = np.zeros((n_fft // 2 + 1, frames.shape[1]), dtype=np.float32)
    for channel in frames:
        power += np.abs(np.fft.rfft(channel * window, axis=-1)).T.astype(np.float32) ** 2
    return power / len(frames)


def _box(axis: Axes, numbers: np.ndarray, at: float, width: float, colour: str) -> None:
    axis.boxplot(
        [numbers],
        positions=[at],
        widths=[width],
        manage_ticks=False,
        showfliers=False,
        showmeans=True,
        patch_artist=True,
        boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour},
        medianprops={"color": colour, "linewidth": 2},
        whiskerprops={"color": colour},
        capprops={"color": colour},
        meanprops={"marker": "D", "markersize": 4, "markerfacecolor": "white",
                   "markeredgecolor": colour},
    )  # fmt: skip
    # the same scatter at every call: dots spread by their rank, not by chance
    spread = ((np.arange(len(numbers)) * 0.618) % 1 - 0.5) * 0.6 * width
    axis.plot(at + spread, numbers, ".", color=colour, markersize=3, alpha=0.7)


def _cut(axis: Axes, numbers: list[float]) -> None:
    """Show what lies within four interquartile ranges; a silent-looking stem may score -80 dB."""
    finite = np.asarray([number for number in numbers if np.isfinite(number)])
    if not len(finite):
        return
    first, third = np.quantile(finite, [0.25, 0.75])
    reach = max(4 * (third - first), 1.0)
    inside = finite[(finite >= first - reach) & (finite <= third + reach)]
    margin = max(0.05 * np.ptp(inside), 0.2)
    axis.set_ylim(inside.min() - margin, inside.max() + margin)
    for place, count in (
        (0.01, (finite < first - reach).sum()),
        (0.95, (finite > third + reach).sum()),
    ):
        if count:
            side = "below" if place < 0.5 else "above"
            axis.text(0.01, place, f"{count} {side}", transform=axis.transAxes, fontsize=8)


def _envelope(waveform: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    audio = np.atleast_2d(np.asarray(waveform, dtype=np.float32)).mean(0)
    blocks = np.array_split(audio, min(points, max(1, len(audio))))
    low = np.array([block.min(initial=0.0) for block in blocks])
    return low, np.array([block.max(initial=0.0) for block in blocks])


def _legend(figure: Figure, names: Sequence[str]) -> None:
    """Beneath the axes, where it hides nothing; in as many rows as the names need."""
    letters = 12 * figure.get_figwidth()  # that an inch holds
    columns = max(1, min(len(names), int(letters / (6 + max(map(len, names), default=0)))))
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _dress(axis: Axes, x_label: str, y_label: str) -> None:
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.grid(True, color="#e6e6e6", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _name(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(_literal(title), fontsize=11)


def _literal(text: str) -> str:
    """Dollar signs in names are not formulas, and a leading underscore doesn't hide a label."""
    text = str(text).replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]
