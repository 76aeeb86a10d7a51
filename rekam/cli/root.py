"""The command line: nouns that load when they are used, and errors as people and scripts read them.

Exit codes: 0 fine, 1 found a problem, 2 misuse, 75 try again later, 130 interrupted.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click

from rekam.domain.errors import Misconfigured, RekamError
from rekam.runtime.invocation import Invocation
from rekam.runtime.lean_imports import without_rich

EXIT_INTERRUPTED = 130
EXIT_TRY_AGAIN = 75

OURS = ("rekam", "producers", "stream_processors", "projections")
"""Our packages: one that cannot be imported is a bug, any other is an extra not installed."""


@dataclass(frozen=True, slots=True)
class Noun:
    """Where a noun's command is (`module:attribute`), and its line in `rekam --help`."""

    target: str
    summary: str
    extra: str = "server"

    @property
    def module(self) -> str:
        """Return the module to import."""
        return self.target.partition(":")[0]

    def is_built(self) -> bool:
        """Return whether this program has the module; imports its packages, not the module."""
        try:
            return find_spec(self.module) is not None
        except ModuleNotFoundError:
            return False

    def load(self) -> click.Command:
        """Import the command."""
        with without_rich():
            import_module("structlog")
        module, _, attribute = self.target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command), self.target  # noqa: S101 - our own bug
        return command


NOUNS: Mapping[str, Noun] = {
    "up": Noun("rekam.cli.up:up", "Run everything on this machine."),
    "device": Noun(
        "producers.device.commands:device",
        "A recording device: outbox, keys, sending.",
        extra="device",
    ),
    "office": Noun(
        "producers.office.commands:office",
        "An office: enrolments, regions, denominators, lists.",
        extra="device",
    ),
    "usb": Noun(
        "producers.usb.commands:usb", "A stick between devices and the log.", extra="device"
    ),
    "processor": Noun("stream_processors.commands:processor", "Fold the log into the projections."),
    "gateway": Noun("producers.gateway.commands:gateway", "Take segments over HTTPS and log them."),
    "relay": Noun(
        "producers.relay.commands:relay", "Hold segments for a district and forward them."
    ),
    "api": Noun("rekam.cli.api:api", "Answer over HTTP: coverage, devices, people."),
    "audit": Noun("stream_processors.replay.commands:audit", "Prove the projections from the log."),
    "projection": Noun(
        "rekam.cli.refold:projection",
        "Look at the projections, and make them anew.",
    ),
    "quarantine": Noun("rekam.cli.excluded:quarantine", "What does not count, and why."),
    "held": Noun("rekam.cli.excluded:held", "What does not count, and why."),
    "simulate": Noun(
        "producers.simulator.commands:simulate",
        "A fleet of devices on the real routes.",
        extra="device",
    ),
    "topics": Noun(
        "rekam.cli.topics:topics", "Topics of Kafka, tables of PostgreSQL.", extra="device"
    ),
    "db": Noun("rekam.cli.db:db", "Topics of Kafka, tables of PostgreSQL."),
    "schema": Noun(
        "rekam.schema_commands:schema",
        "Schemas of events, settings of this machine.",
        extra="device",
    ),
    "config": Noun(
        "rekam.cli.config:config", "Schemas of events, settings of this machine.", extra="device"
    ),
}
"""In the order of a day's work; `rekam --help` shows them so, those of one summary in a line.
"""


class LazyGroup(click.Group):
    """A group that imports a command when it runs, so that `rekam --help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Return the nouns that this program has."""
        return [name for name, noun in NOUNS.items() if noun.is_built()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's interface
        """Return the command of a noun; None, and click says so, when there is none.

        Raises Misconfigured when it needs a package that is not installed.
        """
        noun = NOUNS.get(cmd_name)
        if noun is None or not noun.is_built():
            return None
        try:
            return noun.load()
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] in OURS:
                raise
            raise Misconfigured(
                [
                    (
                        f"`rekam {cmd_name}` needs the Python package {error.name}, which is not "
                        f"installed. Run: pip install 'rekam[{noun.extra}]'"
                    )
                ]
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the nouns from the table: asking the commands would import them all."""
        with formatter.section("Commands"):
            lines: dict[str, list[str]] = {}
            for name in self.list_commands(ctx):
                lines.setdefault(NOUNS[name].summary, []).append(name)
            formatter.write_dl([(", ".join(names), summary) for summary, names in lines.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    # What everybody tries anyway is not listed: the nouns need the screen.
    add_help_option=False,
    epilog="Exit codes: 0 fine, 1 found a problem, 2 misuse, 75 try again later.",
)
@click.help_option("-h", "--help", hidden=True)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings in TOML; REKAM_... variables override it.",
)
@click.version_option(package_name="rekam", message="%(prog)s %(version)s", hidden=True)
@click.pass_context
def root(context: click.Context, config: Path | None) -> None:
    """Record identity cards where servers break and villages are offline."""
    from rekam.runtime.logging import configure_logging  # structlog alone takes 200 ms

    configure_logging()
    context.obj = Invocation(os.environ, config)


def main() -> None:
    """Run the command line of this process and end with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what is wrong goes to standard error."""

    def command() -> None:
        with root.make_context("rekam", list(arguments)) as context:
            root.invoke(context)
        sys.stdout.flush()

    return exit_code_of(command)


def exit_code_of(work: Callable[[], None]) -> int:
    """Do `work` and return the exit code that its end means; errors are told on standard error.

    An exception that is not ours is a bug and leaves here with its traceback.
    """
    try:
        work()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Who read us has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except RekamError as error:
        return _told([error])
    except BaseExceptionGroup as group:
        # Tasks that ran together may fail together; each is told, if it is ours.
        errors = list(_leaves(group))
        ours = [error for error in errors if isinstance(error, RekamError)]
        if len(ours) < len(errors):
            raise
        return _told(ours)
    return 0


def _told(errors: Sequence[RekamError]) -> int:
    for error in errors:
        for fact in error.faults if isinstance(error, Misconfigured) else [str(error)]:
            click.echo(f"{error.code}: {fact}", err=True)
    lasting = [error.exit_code for error in errors if error.exit_code != EXIT_TRY_AGAIN]
    return lasting[0] if lasting else EXIT_TRY_AGAIN


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
