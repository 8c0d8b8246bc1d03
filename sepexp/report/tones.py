"""The upsampling study as a table, a long list of numbers and a picture."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sepexp.plot import COLOURS, MARKS, new_figure
from sepexp.report.text import Table, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sepexp.metric.tones import Tones

Found = Mapping[str, Sequence["Tones"]]  # system -> one measurement a repeat
MEASUREMENTS = {
    "ones": "ones: tones over 0 Hz (dB)",
    "noise": "noise: tones over neighbours (dB)",
    "silence": "silence: level of tones (dB)",
    "pauses": "pauses: tones over neighbours (dB)",
}
NOTES = [
    "Tones are named by the rate that a layer upsamples: its tones lie at multiples of it.",
    "ones: a constant input; energy of the tones over that at 0 Hz. noise: white noise at -20 dB; "
    "mean level of the tones over their neighbourhood, 0 dB where there are none, less where an "
    "interpolator damps them. silence: zeros; energy of the tones, 0 dB being a mean square of 1.",
    "pauses: as noise, in test songs where a target is silent and the others aren't.",
    "Medians over repeats; tones.csv has each. -120 dB stands for less than float32 shows.",
]


def tones_table(found: Found) -> Table:
    """A row for each measurement and system, a column for each layer's first tone."""
    hertz = sorted({rate for each in found.values() for rate in each[0].rates}, reverse=True)
    rows = []
    for measurement in _measured(found):
        for name, repeats in found.items():
            by_rate = {
                rate: [getattr(one, measurement)[layer] for one in repeats]
                for layer, rate in enumerate(repeats[0].rates)
                if getattr(repeats[0], measurement)
            }
            total = [getattr(one, f"all_{measurement}", math.nan) for one in repeats]
            cells = [_middle(by_rate.get(rate, [])) for rate in hertz]
            rows.append([f"{measurement}: {name}", _middle(total), *cells])
    columns = ["measurement and system", "all", *(f"{_hertz(rate)} Hz" for rate in hertz)]
    return Table("Tones of upsampling, in dB", columns, rows, NOTES)


def tones_csv(found: Found) -> str:
    """Every number as CSV; hertz is empty for all tones together."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["system", "repeat", "measurement", "hertz", "decibels"])
    for name, repeats in found.items():
        for repeat, one in enumerate(repeats, start=1):
            for measurement in _measured({name: repeats}):
                for rate, level in zip(one.rates, getattr(one, measurement), strict=True):
                    writer.writerow([name, repeat, measurement, f"{rate:.6g}", f"{level:.4f}"])
                if hasattr(one, f"all_{measurement}"):
                    total = getattr(one, f"all_{measurement}")
                    writer.writerow([name, repeat, measurement, "", f"{total:.4f}"])
    return text.getvalue()


def tones_figure(found: Found) -> Figure:
    """A panel for each measurement; a line for each system joins the medians over repeats.

    Bars show the lowest and the highest of the repeats.
    """
    measured = _measured(found)
    figure = new_figure(4.2 * len(measured), 4.4)
    axes = figure.subplots(1, len(measured))
    for axis, measurement in zip(axes, measured, strict=True):
        for index, (name, repeats) in enumerate(found.items()):
            if not getattr(repeats[0], measurement):
                continue
            levels = np.ma.masked_invalid([getattr(one, measurement) for one in repeats])
            middle = np.ma.median(levels, axis=0).filled(np.nan)
            around = [middle - levels.min(axis=0), levels.max(axis=0) - middle]
            # beside each other, so that equal levels don't hide each other
            shift = 2 ** (0.08 * (index - (len(found) - 1) / 2))
            axis.errorbar(
                np.asarray(repeats[0].rates) * shift,
                middle,
                yerr=np.ma.filled(around, 0.0),
                color=COLOURS[index % len(COLOURS)],
                marker=MARKS[index % len(MARKS)],
                markersize=5,
                linewidth=1.3,
                label=name.replace("$", r"\$"),
            )
        axis.set_xscale("log", base=2)
        places = sorted({rate for repeats in found.values() for rate in repeats[0].rates})
        axis.set_xticks(places, [_hertz(place) for place in places], rotation=60, fontsize=8)
        axis.minorticks_off()
        axis.set_xlabel("Hz: a layer's first tone")
        axis.set_ylabel(MEASUREMENTS[measurement])
        axis.grid(True, color="#e6e6e6", linewidth=0.7)
        axis.spines[["top", "right"]].set_visible(False)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _measured(found: Found) -> list[str]:
    """The measurements that some system has."""
    return [m for m in MEASUREMENTS if any(getattr(r[0], m) for r in found.values())]


def _middle(values: Sequence[float]) -> str:
    """The median of what was measured; a dash where nothing could be."""
    if not values or np.isnan(values).any():
        return "–"
    return number(statistics.median(values), 1)


def _hertz(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
