"""One kind of table, written for terminals, Markdown and LaTeX."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """Cells as text, with what must be said beneath them."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = []  # noqa: RUF012 - never changed in place


def terminal(table: Table) -> str:
    """Plain aligned text; columns of numbers to the right, others to the left."""
    lines = [[_flat(cell) for cell in row] for row in [table.columns, *table.rows]]
    columns = list(zip(*lines, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    right = numeric(table)
    text = [_flat(table.title), ""] if table.title else []
    for number, row in enumerate(lines):
        cells = map(_pad, row, widths, right)
        text.append("  ".join(cells).rstrip())
        if number == 0:
            text.append("  ".join("-" * width for width in widths))
    for note in table.notes:
        text.append(textwrap.fill(_flat(note), 98, initial_indent="  ", subsequent_indent="    "))
    return "\n".join(text)


def numeric(table: Table) -> list[bool]:
    """Which columns hold numbers: every cell a dash or with a figure in front."""
    return [
        index > 0 and all(row[index][:1] in "+-–0123456789" for row in table.rows)
        for index in range(len(table.columns))
    ]


def markdown(table: Table) -> str:
    """A Markdown table; names can't break its cells."""
    text = [f"### {_markdown(table.title)}", ""] if table.title else []
    text.append(_bar([_markdown(cell) for cell in table.columns]))
    text.append(_bar(["---:" if right else "---" for right in numeric(table)]))
    text += [_bar([_markdown(cell) for cell in row]) for row in table.rows]
    if table.notes:
        text += ["", *(f"- {_markdown(note)}" for note in table.notes)]
    return "\n".join(text)


def latex(table: Table) -> str:
    """A booktabs table, ready for `\\input`; names are escaped."""
    spec = "".join("r" if right else "l" for right in numeric(table))
    text = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{spec}}}", r"\toprule"]
    text.append(_row([_latex(cell) for cell in table.columns]))
    text.append(r"\midrule")
    text += [_row([_latex(cell) for cell in row]) for row in table.rows]
    caption = " ".join(_latex(_sentence(part)) for part in (table.title, *table.notes) if part)
    text += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]
    return "\n".join(text)


def writer(form: str) -> Callable[[Table], str]:
    """The writer by its name: terminal, markdown or latex."""
    return {"terminal": terminal, "markdown": markdown, "latex": latex}[form]


def number(value: float | None, digits: int = 2) -> str:
    """A number for a cell; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def both(median: float, mean: float) -> str:
    """Median and mean side by side."""
    return f"{number(median)} / {number(mean)}"


def count(value: float | None) -> str:
    """A large number with three figures and a unit: 10.98M."""
    if value is None or not math.isfinite(value):
        return "–"
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.2f}{unit}"
    return f"{value:g}"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _pad(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """Columns that a terminal gives it: wide letters take two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def _flat(text: str) -> str:
    """One line without control characters: a song's name must not steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _markdown(text: str) -> str:
    text = _flat(text).replace("\\", "\\\\")
    for letter in "|`*_[]":
        text = text.replace(letter, f"\\{letter}")
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _bar(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _latex(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--",
    }  # fmt: skip
    return "".join(special.get(letter, letter) for letter in _flat(text))
