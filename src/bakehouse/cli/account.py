"""``bakehouse account``: more accounts beside the first."""

import shlex
from typing import Annotated

import typer

from bakehouse.cli.connection import find_connection
from bakehouse.cli.terminal import fail

_Organization = Annotated[str | None, typer.Option(help="The ARN of the organization it is in.")]
_Units = Annotated[
    list[str] | None,
    typer.Option("--organizational-unit", help="The ARN of a unit it is in, and of each above; may be repeated."),
]

app = typer.Typer(no_args_is_help=True, help="Accounts and their keys.")


@app.command()
def create(
    context: typer.Context,
    alias: Annotated[str | None, typer.Argument(help="A name for the account.")] = None,
    organization: _Organization = None,
    units: _Units = None,
) -> None:
    """Make an account with its default VPC; print its administrator's key, this once, as shell exports."""
    from bakehouse.main import create_account

    try:
        key = create_account(context.obj, alias, organization=organization, units=units or ())
    except ValueError as error:
        fail(str(error))
    typer.echo(f"# account {key.account_id}")
    connection = find_connection(context.obj)
    variables = dict(connection.variables()) if connection else {}
    variables["AWS_ACCESS_KEY_ID"] = key.access_key_id
    variables["AWS_SECRET_ACCESS_KEY"] = key.secret_access_key
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def place(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="Its id or alias.")],
    organization: _Organization = None,
    units: _Units = None,
) -> None:
    """Put an account into an organization, out of where it was; without options, out of any. Prints where it is."""
    from bakehouse.main import place_account

    try:
        places = place_account(context.obj, account, organization=organization, units=units or ())
    except ValueError as error:
        fail(str(error))
    for arn in places:
        typer.echo(arn)
