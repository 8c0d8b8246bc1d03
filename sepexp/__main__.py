"""`python -m sepexp [overrides]` trains and tests; `python -m sepexp COMMAND ...` does one thing.

Nothing heavy is imported here: a loader's worker process imports this file again.
"""

from __future__ import annotations

import importlib
import sys

from sepexp.cli.commands import COMMANDS


def main() -> None:
    """Hand over to the command that the first word names, or to training."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        entry = importlib.import_module(f"sepexp.cli.{arguments[0]}").main
        from sepexp.cli.mistakes import one_sentence

        one_sentence(entry, arguments[1:])
        return
    from sepexp.cli.train import main as train

    train()


if __name__ == "__main__":
    main()
