"""The `gensweep` command: finds commands by name, and turns errors into one line and an exit code.

Exit codes: 0 done; 1 failure; 2 usage or configuration; 3 the sweep finished but some trials failed; 4 nothing to
compare; 5 the data do not support an answer; 130 interrupted.
"""

from __future__ import annotations

import difflib
import functools
import gc
import sys
from importlib.metadata import EntryPoint
from typing import Any

import click

from gensweep import __version__, plugins
from gensweep.causes import plain_cause
from gensweep.errors import GensweepError
from gensweep.files import write_for_owner_alone

#: Objects created before Python collects the youngest garbage: imports and logs create many that stay.
GARBAGE_THRESHOLD = 200_000
#: The commands of this package, in the order of their first use, each in the module of its name.
NAMES = (
    "init", "tune", "train", "trials", "best", "evaluate", "sample", "sweeps", "rm", "mv", "data", "new", "config",
    "doctor",
)  # fmt: skip
OWN = {name: EntryPoint(name, f"gensweep.cli.{name}:{name}", plugins.COMMANDS) for name in NAMES}


def _with_import_option(command: click.Command) -> click.Command:
    """Add the option to import plug-ins to a command and all its subcommands."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _with_import_option(each)
        return command
    if any(parameter.name == "imported" for parameter in command.params):
        return command
    run = command.callback
    assert run is not None

    @functools.wraps(run)
    def importing(*arguments: Any, imported: tuple[str, ...], **keywords: Any) -> Any:
        for name in imported:
            plugins.load(name)
        return run(*arguments, **keywords)

    option = click.Option(
        ["--import", "imported"],
        multiple=True,
        metavar="MODULE|FILE",
        help="Import a plug-in first, such as my_package.schedules or mine.py. May be given several times.",
    )
    command.params.append(option)
    command.callback = importing
    return command


class LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names; plug-ins come last."""
        return list(OWN | plugins.offered(plugins.COMMANDS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The imported command, or None; a misspelt name gets a suggestion."""
        if cmd_name in OWN:
            return _with_import_option(OWN[cmd_name].load())
        further = plugins.offered(plugins.COMMANDS)
        if cmd_name in further:
            return _with_import_option(plugins.load_offered(further[cmd_name]))
        if close := difflib.get_close_matches(cmd_name, [*OWN, *further], n=1):
            ctx.fail(f"No such command {cmd_name!r}; did you mean {close[0]!r}?")
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, without importing any."""
        with formatter.section("Commands"):
            commands = OWN | plugins.offered(plugins.COMMANDS)
            formatter.write_dl([(name, plugins.command_help(entry)) for name, entry in commands.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gensweep")
def cli() -> None:
    """Which image generator should I train, with which settings, for the compute I have?

    \b
    Examples:
      gensweep tune quickstart                        sweep diffusion models and GANs on digits
      gensweep best --compare                         read the verdict, write report.html
      mlflow ui                                       browse the runs, in the same folder
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(argv))


def run(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; problems go to stderr, one line each."""
    write_for_owner_alone()
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        code: Any = cli.main(args=argv, prog_name="gensweep", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except GensweepError as error:
        for line in str(error).splitlines():
            click.echo(f"Error: {line}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # The reader of stdout has closed it (`gensweep trials NAME | head`): not an error.
        sys.stderr.close()
        return 0
    except Exception as error:
        words = plain_cause(error)
        if words is None:
            raise
        click.echo(f"Error: {words}", err=True)
        return GensweepError.exit_code
    return code if isinstance(code, int) else 0
