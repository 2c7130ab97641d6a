"""Find or replace text that looks like a secret before it is stored."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import Any

from gensweep.errors import ConfigError

#: The replacement of a secret.
HIDDEN = "***"

#: Variables with folders, whose names contain PWD like a password's.
SHELL_FOLDERS = ("PWD", "OLDPWD")

_NAME = (
    r"(?:token|secret|passw(?:or)?d|pwd|passphrase|passcode|credentials?|auth|connection[_-]?string"
    r"|(?:api|access|private|secret|account|storage|shared|encryption|signing)[_-]?key)"
)
_SECRET_NAME = re.compile(rf"(?i){_NAME}(?:[_-]?id)?$")
#: Patterns of secrets; the group `keep` is not replaced.
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        # user@ and user:password@ in a URL: a password ends at the last @; digits after a colon may be a port
        r"(?P<keep>[a-zA-Z][a-zA-Z0-9+.-]*://)"
        r"(?:[^/\s:'\"\[]*:(?!\d+(?![^/?#\s'\",;)\]}>]))\S*|[^/\s'\"]+)(?=@)",
        r"(?i)(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}",
        # --api-key VALUE, and name=value, name: value, "name": "value" for names that end like a secret's
        rf"(?i)(?P<keep>--?[\w.-]*{_NAME}\s+)(?:'[^']*'|\"[^\"]*\"|[^\s'\"-]\S*)",
        rf"(?i)(?P<keep>{_NAME}(?:[_-]?id)?['\"]?\s*[=:]\s*)(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s'\"&,;]+)",
        r"(?P<keep>[?&]sig=)[^\s'\"&,;]+",  # of a URL that Azure has signed
        r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|sk-|xox[abprs]-|dapi)[A-Za-z0-9_-]{16,}",
        r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    )
)


def redact(text: str) -> str:
    """Text with everything that looks like a secret replaced: URL credentials, tokens, values of secret-like names.

    Idempotent.  Prefers to hide too much.  Bytes that are not UTF-8 are written as escapes.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    found = {value for name, value in os.environ.items() if len(value) >= 8 and _names_a_secret(name)}
    for value in sorted(found, key=len, reverse=True):  # one may be part of another
        text = text.replace(value, HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(lambda found: found.groupdict().get("keep", "") + HIDDEN, text)
    return text


def redact_tree(value: Any, name: str = "") -> Any:
    """A configuration with secrets replaced; numbers and booleans stay."""
    if isinstance(value, Mapping):
        return {key: redact_tree(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_tree(item, name) for item in value]
    if not isinstance(value, str):
        return value
    return HIDDEN if value and _names_a_secret(name) else redact(value)


@functools.cache
def _names_a_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and name not in SHELL_FOLDERS


#: Message for a secret in a setting or an option.
ADVICE = (
    "seems to contain a secret, which would be stored in the sweep's folder; use the environment or a "
    "credentials file instead (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials)"
)


def check_without_secret(name: str, value: str) -> None:
    """Raise ConfigError if the value of an option or argument contains a secret."""
    if holds_secret(value):
        raise ConfigError(f"{name} {ADVICE}")


def holds_secret(text: str) -> bool:
    """True if a part of a text looks like a secret, regardless of environment variables."""
    return any(pattern.search(text) for pattern in _PATTERNS)
