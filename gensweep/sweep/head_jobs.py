"""Commands of gensweep that run on the head of a cluster, through Ray's Jobs API: a laptop may sleep meanwhile.

The head's dashboard answers at RAY_API_SERVER_ADDRESS, else RAY_ADDRESS, as for `ray job`; a tunnel such as
`ray attach cluster.yaml -p 8265` is enough.
"""

from __future__ import annotations

import base64
import io
import os
import shlex
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from gensweep import plugins
from gensweep.errors import ConfigError, GensweepError
from gensweep.plugins import Plugin
from gensweep.sweep.auth_token import close_token_file

FOLDER = '"${GENSWEEP_FOLDER:-$HOME/results}"'
"""Where commands run on the head, in the words of its shell: the folder of cluster.yaml, or what the head says."""

COMMAND = "command"
"""The key of a job's metadata that says what it runs, without its shell's words."""

#: Lines before what a command says on stderr and on stdout, as a job has one log for both, and for Ray's own words.
_ERR, _OUT = "--- stderr of gensweep ---", "--- stdout of gensweep ---"

_POLL_SECONDS = 0.5

#: Letters of packed plug-ins in a command; Linux takes no argument of more than 128 KiB.
MAX_PACKED = 96 * 1024


@dataclass(frozen=True)
class HeadAnswer:
    """What a command printed on the head, and its exit code."""

    code: int
    out: str
    err: str


def submit(words: Sequence[str], *, name: str, file: Path | None = None) -> str:
    """Start `gensweep WORDS...` on the head and return the job's id.

    `file` is copied there, under search_spaces/, and the code of the plug-ins of this process into the folder itself.
    Raises ConfigError if that is too large for a command.
    """
    job = f"gensweep-{name}-{uuid4().hex[:6]}"
    command = shlex.join(["gensweep", *words])
    entrypoint = _entrypoint(f"exec {command}", file, plugins.loaded())
    _call("submit_job", entrypoint=entrypoint, submission_id=job, metadata={COMMAND: command})
    return job


def run_on_head(words: Sequence[str], *, columns: int | None = None) -> HeadAnswer:
    """Run `gensweep WORDS...` on the head, for a terminal of some columns, and wait; nothing stays there."""
    width = [] if columns is None else ["env", f"COLUMNS={columns}"]
    command = shlex.join([*width, "gensweep", *words])
    caught = (
        f'out=$(mktemp); echo; echo {shlex.quote(_ERR)}; {command} > "$out"; code=$?; '
        f'echo; echo {shlex.quote(_OUT)}; cat "$out"; rm "$out"; '
    )
    job = f"gensweep-{words[0]}-{uuid4().hex[:6]}"
    entrypoint = _entrypoint(caught + "exit $code")
    _call("submit_job", entrypoint=entrypoint, submission_id=job, metadata={COMMAND: command})
    while not (info := _call("get_job_info", job)).status.is_terminal():
        time.sleep(_POLL_SECONDS)
    # Ray's own line comes before or after the first words of the command.
    log: str = _call("get_job_logs", job).replace(f"Running entrypoint for job {job}: {entrypoint}\n", "")
    _call("delete_job", job)
    err, found, out = log.partition(f"\n{_ERR}\n")[2].partition(f"\n{_OUT}\n")
    if not found:
        raise GensweepError(f"the head could not run gensweep: {(log.strip() or info.message or 'no word why')[-500:]}")
    return HeadAnswer(info.driver_exit_code or 0, out, err)


def path_on_head(file: Path) -> str:
    """Where a search space lies on the head, in the folder of the command."""
    return f"search_spaces/{file.name}"


def _entrypoint(command: str, file: Path | None = None, sent: Sequence[Plugin] = ()) -> str:
    """A command in the head's folder.  Files travel in it, as what a job uploads would be every worker's folder."""
    steps = [f"mkdir -p {FOLDER}/search_spaces", f"cd {FOLDER}"]
    if file is not None:
        text = shlex.quote(file.read_text(encoding="utf-8"))
        steps.append(f"printf %s {text} > {shlex.quote(path_on_head(file))}")
    if sent:
        packed = _packed(sent)
        if len(packed) > MAX_PACKED:
            raise ConfigError(
                f"the plug-ins {', '.join(plugin.name for plugin in sent)} are too large to be sent to the head; "
                "install them there, and leave --import out"
            )
        steps.append(f"printf %s {packed} | base64 -d | tar xzf -")
    return " && ".join([*steps, f"{{ {command}; }}"])


def _packed(sent: Sequence[Plugin]) -> str:
    """The files of plug-ins as an archive in letters."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path, text in {path: text for plugin in sent for path, text in plugin.files.items()}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return base64.b64encode(content.getvalue()).decode()


def _call(method: str, *arguments: Any, **keywords: Any) -> Any:
    """Call the Jobs API.  Raises ConfigError without an address, GensweepError if nobody answers or Ray refuses."""
    address = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    if not address:
        raise ConfigError(
            "RAY_API_SERVER_ADDRESS is not set, so there is no cluster to run on; open a tunnel to its dashboard "
            "with: ray attach cluster.yaml -p 8265; then set RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265"
        )
    close_token_file()
    from ray.job_submission import JobSubmissionClient

    try:
        return getattr(JobSubmissionClient(), method)(*arguments, **keywords)
    except (ConnectionError, OSError) as error:
        raise GensweepError(f"no dashboard of Ray answers at {address} ({error}); is the tunnel open?") from error
    except (ImportError, RuntimeError) as error:
        raise GensweepError(
            f"the Jobs API at {address} refused: {error}; here and there: pip install 'ray[default]'"
        ) from error
