"""How much commands tell on stderr."""

from __future__ import annotations

import logging

import click
import pytest

from gensweep.cli import main
from gensweep.errors import GensweepError


@pytest.fixture
def told(monkeypatch, capsys):
    """What a command that is called with some options prints: its exit code, stdout and stderr."""

    def run(*options, code=None, error=None):
        @click.command()
        def chatty():
            click.echo("data")
            click.echo("a note", err=True)
            logging.getLogger("gensweep.sweep").info("look at %d nodes", 3)
            if error is not None:
                raise GensweepError(error)
            return code

        monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: main._with_shared_options(chatty))
        return main.run(["chatty", *options]), *capsys.readouterr()

    return run


def test_quiet_commands_keep_to_stdout_unless_they_fail(told):
    assert told() == (0, "data\n", "a note\n")
    assert told("-q") == (0, "data\n", "")
    assert told("--quiet", code=3) == (3, "data\n", "a note\n")
    assert told("-q", error="no disk") == (1, "data\n", "a note\nError: no disk\n")


def test_verbose_commands_tell_the_log_too_and_leave_it_as_it_was(told):
    code, out, err = told("-v")
    assert (code, out) == (0, "data\n")
    assert "gensweep.sweep: look at 3 nodes\n" in err
    assert "look at" not in told()[2]
    assert told("-v", "-q")[0] == 2
