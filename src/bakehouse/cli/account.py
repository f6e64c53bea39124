"""``bakehouse account``: more accounts beside the first."""

import shlex
from typing import Annotated

import typer

from bakehouse.cli.connection import find_connection
from bakehouse.cli.terminal import fail

app = typer.Typer(no_args_is_help=True, help="Accounts and their keys.")


@app.command()
def create(
    context: typer.Context,
    alias: Annotated[str | None, typer.Argument(help="A name for the account.")] = None,
) -> None:
    """Make an account with its default VPC; print its administrator's key, this once, as shell exports."""
    from bakehouse.main import create_account

    try:
        key = create_account(context.obj, alias)
    except ValueError as error:
        fail(str(error))
    typer.echo(f"# account {key.account_id}")
    connection = find_connection(context.obj)
    variables = dict(connection.variables()) if connection else {}
    variables["AWS_ACCESS_KEY_ID"] = key.access_key_id
    variables["AWS_SECRET_ACCESS_KEY"] = key.secret_access_key
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
