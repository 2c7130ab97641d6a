"""Errors for the user: one line per problem, and an exit code.

All other exceptions are bugs of gensweep and keep their traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


class GensweepError(Exception):
    """A problem that the user can fix; the message says how.  Exit code 1."""

    exit_code = 1


class ConfigError(GensweepError):
    """One or more problems in the user's input, all at once, one line each.  Exit code 2."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ParameterError(ConfigError):
    """A parameter that conflicts with others, the images or the machine; `config` finds the key that sets it."""

    def __init__(self, parameter: str, message: str) -> None:
        self.parameter, self.message = parameter, message
        super().__init__(f"{parameter}: {message}")

    def __reduce__(self) -> tuple[type[ParameterError], tuple[str, str]]:
        return type(self), (self.parameter, self.message)


class OutsideError(GensweepError):
    """Something that a trial needs is unavailable, such as its storage or data; a retry may work.  Exit code 1."""


class NothingToCompareError(GensweepError):
    """No finished run answers the question.  Exit code 4."""

    exit_code = 4


class UntrustedError(GensweepError):
    """The data do not support an answer, so there is none.  Exit code 5."""

    exit_code = 5
