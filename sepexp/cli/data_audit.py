"""`python -m sepexp data audit`: hear what the augmentation does, check what it draws."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> None:
    """Read the flags, draw, check, render, write the page; exit code 1 where a check fails."""
    parser = argparse.ArgumentParser(
        prog="python -m sepexp data audit",
        description="Render examples before and after augmentation, with the drawn numbers, as wav "
        "files and one page, and check rates and ranges of many draws against the config. The exit "
        "code is 1 where a check fails.",
        epilog="example: python -m sepexp data audit augmentation=demucs --count 8 --out audit",
    )
    parser.add_argument("--count", type=int, default=4, help="examples to render [4]")
    parser.add_argument("--draws", type=int, default=10_000, help="draws to check [10000]")
    parser.add_argument("--out", type=Path, default=Path("audit"), help="new folder [audit]")
    parser.add_argument("overrides", nargs="*", help="of the config, such as augmentation=demucs")
    given = parser.parse_intermixed_args(arguments)
    for name, value, least in (("count", given.count, 0), ("draws", given.draws, 1)):
        if value < least:
            parser.error(f"--{name} is {value}: expected at least {least}")
    from sepexp.cli.compose import compose, plain
    from sepexp.cli.stream import make_stream
    from sepexp.data import audit
    from sepexp.report.audit_page import Example, write_audit
    from sepexp.report.text import terminal

    config = plain(compose(given.overrides))
    stream = make_stream(config, augmented=True)
    stream.prepare_data()
    stream.setup()
    checks = audit.check(audit.draw(stream.chunks(), given.draws), config["augmentation"])
    broken = audit.violations(checks)
    found, said = table(checks), verdict(len(checks), len(broken), given.draws)
    heard = [audit.render(stream, index) for index in range(given.count)]
    examples = [
        Example(
            one.number,
            one.sources,
            list(zip(one.songs, one.seconds, strict=True)),
            {name: values.tolist() for name, values in one.numbers.items()},
            one.before,
            one.after,
        )
        for one in heard
    ]
    page = write_audit(
        given.out,
        table=found,
        verdict=said,
        about=" ".join(["python -m sepexp data audit", *given.overrides]),
        examples=examples,
        rate=config["sample_rate"],
    )
    print(terminal(found))
    print(f"\n{said}\n{given.count} examples to hear: {page}")
    if broken:
        raise SystemExit(1)


def table(checks: Sequence[Any]) -> Any:
    """The checks as the terminal and the page show them."""
    from sepexp.report.text import Table

    words = {True: "yes", False: "NO", None: "–"}
    rows = [[c.augmentation, c.what, c.expected, c.found, words[c.fine]] for c in checks]
    return Table("", ["augmentation", "what", "expected", "found", "kept"], rows)


def verdict(checks: int, broken: int, draws: int) -> str:
    """One sentence."""
    if not checks:
        return "This config augments nothing, so there was nothing to check."
    if broken:
        return f"{broken} of {checks} checks failed on {draws} draws: see where it says NO."
    return f"No check failed on {draws} draws; a dash: nothing of this kind was drawn."
