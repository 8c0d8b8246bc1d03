"""`python -m sepexp [overrides]` trains and tests; `python -m sepexp COMMAND ...` does one thing.

Nothing heavy is imported here: a loader's worker process imports this file again.
"""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "evaluate": "score a run again",
    "separate": "take a song apart with a trained run",
    "models": "list the models, their sizes and what each was checked against",
    "report": "tables, verdicts and pages from runs",
    "data": "prepare or inspect songs",
}


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
