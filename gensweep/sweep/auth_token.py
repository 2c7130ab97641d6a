"""The file with the token of a Ray cluster: whoever can read it can run code on every node."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from gensweep.errors import GensweepError

_log = logging.getLogger(__name__)

#: The rights of others than the owner.
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def close_token_file() -> None:
    """Make the token unreadable for others, where Ray reads one from a file.

    Raises GensweepError if that is not possible.
    """
    if os.environ.get("RAY_AUTH_MODE") != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if not file.is_file() or not (file.stat().st_mode & OTHERS):
        return
    try:
        file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise GensweepError(
            f"others can read {file}, the token with which one runs code on the Ray cluster ({error.strerror}); run: "
            f"chmod 600 {file}, and if others use this machine, make another token: ray get-auth-token --generate"
        ) from error
    _log.warning("others could read %s, the token of the Ray cluster; now only you can", file)
