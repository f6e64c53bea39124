"""The ``bakehouse`` command. Every verb is a function of the module named after its noun."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bakehouse import __version__
from bakehouse.cli import account, image
from bakehouse.cli.demo.command import demo
from bakehouse.cli.doctor import doctor
from bakehouse.cli.env import env
from bakehouse.cli.instance import logs, ssh
from bakehouse.cli.serve import down, serve
from bakehouse.cli.store import check, gc
from bakehouse.cli.terminal import err, fail
from bakehouse.errors import PartError
from bakehouse.settings import Settings

app = typer.Typer(
    name="bakehouse",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (serve, env, down, demo, check, gc, doctor, logs):
    app.command()(command)
# What follows the instance's name belongs to the remote command, options too.
app.command(context_settings={"allow_interspersed_args": False})(ssh)
app.add_typer(image.app, name="image")
app.add_typer(account.app, name="account")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bakehouse {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    state: Annotated[
        Path | None, typer.Option(help="The state directory (or BAKEHOUSE_STATE_ROOT).", show_default=False)
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """A self-hosted AMI service: launch, customise, create image, launch identical copies."""
    del version
    environ = dict(os.environ)
    if state is not None:
        environ["BAKEHOUSE_STATE_ROOT"] = str(state.absolute())
    try:
        context.obj = Settings.from_environment(environ)
    except ValueError as error:
        fail(str(error))


def main() -> None:
    """Run the command line; what a part or the system could not do is told in one line, not in a traceback."""
    try:
        app()
    except PartError as error:
        message = str(error)
    except OSError as error:
        message = _message_of(error)
    except Exception as error:
        if not _is_of_the_clients(error):
            raise
        message = str(error)
    else:
        return
    err.print(f"bakehouse: {' '.join(message.split())}", markup=False)
    raise SystemExit(1)


def _message_of(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    hint = " (another user's? run this as that user, or with sudo)" if isinstance(error, PermissionError) else ""
    return f"{place}{error.strerror or error}{hint}"


def _is_of_the_clients(error: Exception) -> bool:
    """Tell whether boto3 raised it: an error the API answered, or a service that does not answer."""
    return type(error).__module__ == "botocore.exceptions"
