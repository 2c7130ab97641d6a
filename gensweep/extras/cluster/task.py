"""Run work on a trained model as a task on the cluster at RAY_ADDRESS, on a GPU if it has one.

Input and output files travel with the task, its output is printed here, and Ctrl-C ends it.
"""

from __future__ import annotations

import contextlib
import io
import queue
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import click

from gensweep.errors import GensweepError
from gensweep.files import scratch_folder
from gensweep.last_words import last_words
from gensweep.run.near_gpus import CLUSTER_RUNNERS, ReturnedPath, SentPath, replaced

if TYPE_CHECKING:
    from gensweep.run.messages import WithPlugins

PATIENCE = 15.0  # seconds without a sign of the task before the reason for waiting is printed

#: Printed if Ray ends this process.
LOST_CLUSTER = (
    "the command was killed, or the Ray cluster at RAY_ADDRESS was lost; run it again once `ray status` answers"
)

Piece: TypeAlias = tuple[Literal["begun", "out", "err", "failed", "done"], Any]
"""A message of the task: started, text, a user error, or the result with its files."""


def run_as_task(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Run a function as a task, on a GPU if the cluster has any.

    Raises ConfigError if no node can ever run the task, and the errors of the function.
    """
    import ray

    from gensweep.config.sweep_config import Resources
    from gensweep.run.allotment import allot, bundle, format_scarce
    from gensweep.run.cluster import connected
    from gensweep.run.messages import WithPlugins
    from gensweep.run.nodes import addable_nodes, node_resources

    output = sys.stdout  # Ray discards it while connected
    with last_words(f"Error: {LOST_CLUSTER}"), connected():
        nodes = node_resources()
        asked = Resources(gpus_per_worker=1.0 if any(node.get("GPU") for node in nodes) else 0.0)
        allot(asked, nodes, grows=addable_nodes() > 0)
        targets: list[Path] = []

        def pack(each: SentPath | ReturnedPath) -> Any:
            if isinstance(each, SentPath):
                return _Files(each.path.name, _pack(each.path))
            targets.append(each.path)
            return _Files(each.path.name, None)

        sent = replaced(arguments, pack)
        given = bundle(asked)
        task: Any = ray.remote(num_cpus=given["CPU"], num_gpus=given.get("GPU", 0))(_perform)
        stream = task.options(num_returns="streaming").remote(WithPlugins((work, sent)))
        try:
            ready, _ = ray.wait([stream], timeout=PATIENCE)
            if not ready:
                click.echo(f"waiting for a node of the cluster with {format_scarce(asked)} ...", err=True)
            for reference in stream:
                kind, content = ray.get(reference)
                if kind == "failed":
                    raise content
                if kind == "done":
                    result, files = content
                    for target, packed in zip(targets, files, strict=True):
                        _unpack(packed, target.parent)
                    return result
                if kind != "begun":
                    click.echo(content, file=output if kind == "out" else sys.stderr, nl=False)
        finally:
            with contextlib.suppress(Exception):  # the task may have ended
                ray.cancel(stream, force=True)
        raise GensweepError("the task on the cluster ended without a result, perhaps with a lost node; run it again")


CLUSTER_RUNNERS.append(run_as_task)


# -- on the node of the task -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Files:
    """A file or folder to read; without content, one to write."""

    name: str
    content: bytes | None


class _Text(io.TextIOBase):
    """Forwards text."""

    def __init__(self, kind: Literal["out", "err"], pieces: queue.SimpleQueue[Piece]) -> None:
        self._kind, self._pieces = kind, pieces

    def write(self, text: str) -> int:
        self._pieces.put((self._kind, text))
        return len(text)


def _perform(carried: WithPlugins[tuple[Callable[..., Any], tuple[Any, ...]]]) -> Iterator[Piece]:
    """The task: does the work on copies of the files."""
    yield "begun", None
    pieces: queue.SimpleQueue[Piece] = queue.SimpleQueue()
    with scratch_folder("task") as scratch:
        thread = threading.Thread(target=_work, args=(carried, scratch, pieces), daemon=True)
        thread.start()
        while True:
            piece = pieces.get()
            if isinstance(piece[1], BaseException) and not isinstance(piece[1], GensweepError):
                raise piece[1]
            yield piece
            if piece[0] in ("done", "failed"):
                return


def _work(
    carried: WithPlugins[tuple[Callable[..., Any], tuple[Any, ...]]], scratch: Path, pieces: queue.SimpleQueue[Piece]
) -> None:
    wanted: list[Path] = []

    def unpack(each: _Files) -> Path:
        folder = Path(tempfile.mkdtemp(dir=scratch))
        if each.content is None:
            wanted.append(folder / each.name)
        else:
            _unpack(each.content, folder)
        return folder / each.name

    try:
        with contextlib.redirect_stdout(_Text("out", pieces)), contextlib.redirect_stderr(_Text("err", pieces)):
            work, arguments = carried.open()
            result = work(*replaced(arguments, unpack, (_Files,)))
        pieces.put(("done", (result, [_pack(path) for path in wanted])))
    except BaseException as error:
        pieces.put(("failed", error))


def _pack(path: Path) -> bytes:
    """A file or folder with links resolved; None if it does not exist."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", dereference=True) as archive:
        if path.exists():
            archive.add(path, path.name)
    return content.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
