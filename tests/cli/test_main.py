import json
import subprocess
import sys

import click
import pytest

from gensweep.cli import main
from gensweep.errors import ConfigError, GensweepError, NothingToCompareError, UntrustedError


def commands(command: click.Command, path: tuple[str, ...] = ()):
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, **command.context_settings)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, (*path, name))


ALL = [pytest.param(path, command, id=" ".join(("gensweep", *path))) for path, command in commands(main.cli)]


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_command_has_help_with_an_example(path, command):
    text = command.help or ""
    assert text.strip(), f"{path} has no help"
    assert f"gensweep {path[0]}" in text if path else "gensweep tune" in text, f"{path} shows no example"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.opts[0]} has no help"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["tune", "--help"], ["best", "--help"]])
def test_help_imports_neither_torch_nor_ray_nor_mlflow(arguments):
    code = (
        "import json, sys; from gensweep.cli.main import run; code = run(sys.argv[1:]); "
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'sklearn', 'matplotlib'} & set(sys.modules); "
        "print(json.dumps([code, sorted(heavy)]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr.splitlines()[-1]) == [0, []]


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (GensweepError("the disk is full"), 1, ["Error: the disk is full"]),
        (ConfigError(["a.yaml:1: x", "a.yaml:2: y"]), 2, ["Error: a.yaml:1: x", "Error: a.yaml:2: y"]),
        (NothingToCompareError("no runs"), 4, ["Error: no runs"]),
        (UntrustedError("no law"), 5, ["Error: no law"]),
        (KeyboardInterrupt(), 130, ["Interrupted."]),
    ],
)
def test_errors_become_lines_and_exit_codes(error, code, lines, monkeypatch, capsys):
    @click.command()
    def broken():
        raise error

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: broken)
    assert main.run(["tune"]) == code
    captured = capsys.readouterr()
    assert [line for line in captured.err.splitlines() if line] == lines
    assert captured.out == ""


def test_a_misspelt_command_gets_a_suggestion(capsys):
    assert main.run(["tun"]) == 2
    assert "did you mean 'tune'?" in capsys.readouterr().err
