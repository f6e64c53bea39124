"""``bakehouse env``: the shell exports that point any AWS client at the service."""

import shlex

import typer

from bakehouse.cli.connection import RegionOption, get_connection


def env(context: typer.Context, region: RegionOption = None) -> None:
    """Print shell exports; use it as: eval "$(bakehouse env)"."""
    for name, value in get_connection(context.obj, region).variables().items():
        typer.echo(f"export {name}={shlex.quote(value)}")
