"""The one exception that a user's mistake ends in."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that its maker can mend: a sentence with what came, what was expected, what to do.

    The command line prints the sentence without a stack trace and ends with exit code 2.
    """
