"""What is printed, and ended, if this process ends without Python's doing: killed, or by a library that gives up.

Ray ends a driver that has lost its head from within; no exception tells of it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

#: The environment variable that marks what is started inside.
MARK = "GENSWEEP_DRIVER"
#: Seconds that what was started has to end by itself; Ray's agents would wait for a lost head for a minute.
PATIENCE = 8
#: A shell that waits for the end of the process, by its standard input: $1 is the text, $2 the mark, $3 the patience.
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
    """Have a text printed on stderr if the process ends inside, or is interrupted there.

    What was started inside and is still there some seconds after such an end is killed (on Linux).
    """
    mark = uuid4().hex
    # In a session of its own, as signals to the group of this process are not for the guard.
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
