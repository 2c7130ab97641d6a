"""Print a message and clean up if this process is killed, or ended by a library.

Ray ends a driver whose head node is lost without raising an exception.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

#: The environment variable that marks child processes.
MARK = "GENSWEEP_DRIVER"
#: Seconds for child processes to end on their own; Ray's agents would wait a minute for a lost head node.
PATIENCE = 8
#: A shell that waits, by its standard input, for the end of the process: $1 is the text, $2 the mark, $3 the patience.
_GUARD = """
read -r end
[ "$end" = done ] && exit
printf '%s\\n' "$1" >&2
exec >/dev/null 2>&1
sleep "$3"
for pid in $(grep -lazsx "$2" /proc/[0-9]*/environ | cut -d/ -f3); do kill -9 "$pid"; done
"""


@contextmanager
def last_words(text: str) -> Iterator[None]:
    """Print a text on stderr if the process ends or is interrupted in the context.

    Kills child processes that remain some seconds later (on Linux).
    """
    mark = uuid4().hex
    # In a new session, so that signals to this process group do not reach the guard.
    words = ["sh", "-c", _GUARD, "sh", text, f"{MARK}={mark}", str(PATIENCE)]
    guard = subprocess.Popen(words, stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert guard.stdin is not None
    os.environ[MARK] = mark
    end = "done\n"
    try:
        yield
    except KeyboardInterrupt:
        end = "interrupted\n"
        raise
    finally:
        os.environ.pop(MARK, None)
        with suppress(OSError):
            guard.stdin.write(end)
            guard.stdin.close()
        if end == "done\n":
            guard.wait()
