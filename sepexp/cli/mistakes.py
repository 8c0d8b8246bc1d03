"""A user's mistake ends in one sentence and exit code 2; anything else keeps its stack trace."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from sepexp.errors import UserError


def one_sentence(entry: Callable[..., Any], *arguments: Any) -> None:
    """Call and, if the user erred, say so and leave."""
    try:
        entry(*arguments)
    except UserError as error:
        leave(str(error))
    except KeyboardInterrupt:
        leave("interrupted: nothing is half-written, and resume=auto goes on with a training", 130)


def leave(sentence: str, code: int = 2) -> None:
    """Print to the error stream and end the process."""
    sys.stdout.flush()
    print(f"sepexp: {sentence}", file=sys.stderr, flush=True)
    raise SystemExit(code)
