"""`python -m sepexp data doctor`: what each stage of the training stream costs, without a model."""

from __future__ import annotations

import argparse
from typing import Any


def main(arguments: list[str]) -> None:
    """Read the flags, prepare the songs as a training would, measure, print a table and a line."""
    parser = argparse.ArgumentParser(
        prog="python -m sepexp data doctor",
        description="Measure the stages of the training stream, without a model.",
        epilog="example: python -m sepexp data doctor data.num_workers=4 data.batch_size=16",
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="for each stage [2]")
    parser.add_argument("--device", help="where a training would compute [a GPU, if there is one]")
    parser.add_argument("overrides", nargs="*", help="of the config, such as data=folder")
    given = parser.parse_intermixed_args(arguments)
    if not given.seconds > 0:
        parser.error(f"--seconds is {given.seconds}: expected more than 0")
    import torch

    from sepexp.cli.compose import compose, plain
    from sepexp.cli.experiment import keep_memory
    from sepexp.cli.stream import make_stream
    from sepexp.data.doctor import advice, examine
    from sepexp.errors import UserError
    from sepexp.report.text import terminal

    keep_memory()  # as a training does
    config = plain(compose(given.overrides))
    there = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(given.device or there)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {given.device} can't be used here: {reason}") from None
    stream = make_stream(config, augmented=True)
    stream.prepare_data()
    stream.setup()
    found = examine(stream, device=device, seconds=given.seconds)
    print(terminal(table(found, device)))
    print(f"\n{advice(found)}")


def table(found: Any, device: Any) -> Any:
    """The stages in the order in which an example goes through them."""
    from sepexp.report.text import Table

    where = f"on {device}" if found.on_device else "where it is read"
    workers = {0: "no workers", 1: "1 worker"}.get(found.workers, f"{found.workers} workers")
    stages = {
        "draw": found.draw,
        "read for the first time": found.first,
        "read again, from memory": found.read,
        "pitch and tempo": found.stretch,
        f"floats and pointwise augmentation, {where}": found.finish,
        f"copy to {device}": found.copy,
        f"the loader, {workers}": found.together,
    }
    rows = [
        [name, f"{1e3 * seconds:.3g}", f"{1 / seconds:.0f}" if seconds else "–"]
        for name, seconds in stages.items()
        if seconds or name not in (f"copy to {device}",)
    ]
    notes = [
        f"Batches of {found.batch_size}; {found.cores} cores; without the context that a model may "
        "read on both sides of a chunk."
    ]
    return Table("", ["stage", "ms an example", "examples a second"], rows, notes)
