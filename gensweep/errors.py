"""The errors that a user can act on: one line a problem, and an exit code.

Everything else that is raised is a defect of gensweep and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


class GensweepError(Exception):
    """Something went wrong that the user can mend; the message says how.  Exit code 1."""

    exit_code = 1


class ConfigError(GensweepError):
    """One or more problems in what the user wrote, all at once, one line each.  Exit code 2."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ParameterError(ConfigError):
    """A parameter that does not suit the others, the images or the machine; `config` knows the key that gives it."""

    def __init__(self, parameter: str, message: str) -> None:
        self.parameter, self.message = parameter, message
        super().__init__(f"{parameter}: {message}")

    def __reduce__(self) -> tuple[type[ParameterError], tuple[str, str]]:
        return type(self), (self.parameter, self.message)


class OutsideError(GensweepError):
    """What a trial needs is away or broken, such as its storage or its data: another try may work.  Exit code 1."""


class NothingToCompareError(GensweepError):
    """There is no finished run that answers the question.  Exit code 4."""

    exit_code = 4


class UntrustedError(GensweepError):
    """The data do not carry the answer that was asked for, so none is given.  Exit code 5."""

    exit_code = 5
