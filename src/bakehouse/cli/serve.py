"""``bakehouse serve`` and ``bakehouse down``: the service itself."""

from dataclasses import replace
from typing import Annotated

import typer

from bakehouse.cli.terminal import err, fail, out
from bakehouse.host.endpoint import AdministratorKey, Endpoint, find_endpoint
from bakehouse.settings import Settings


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", min=0, max=65535)] = None,
) -> None:
    """Run the service in the foreground. Ctrl-C ends it and leaves the machines running."""
    from bakehouse.main import run_service

    settings: Settings = context.obj
    if host is not None:
        settings = replace(settings, listen_host=host)
    if port is not None:
        settings = replace(settings, listen_port=port)
    try:
        run_service(settings, on_ready=_say_how_to_reach)
    except BlockingIOError:
        running = find_endpoint(settings.state)
        fail(f"a service runs on {settings.state_root} already" + (f": {running.url}" if running else ""))


def _say_how_to_reach(endpoint: Endpoint, first_key: AdministratorKey | None) -> None:
    out.print(f"Bakehouse answers at [bold]{endpoint.url}[/bold] (region {endpoint.region}).")
    if first_key is not None:
        out.print("The administrator's key, shown this once:")
        out.print(f"  account            {first_key.account_id}")
        out.print(f"  access key id      {first_key.access_key_id}")
        out.print(f"  secret access key  {first_key.secret_access_key}", markup=False)
    out.print('Point any AWS client at it:  eval "$(bakehouse env)"')
    out.print("Ctrl-C ends the service and leaves machines running; `bakehouse down` stops everything.")


def down(context: typer.Context) -> None:
    """Stop everything that was started: the machines (cleanly), the networks, the service."""
    from bakehouse.main import stop_everything

    try:
        with err.status("stopping machines, networks and the service"):
            stop_everything(context.obj)
    except BlockingIOError:
        fail(f"the service on {context.obj.state_root} does not end; its log says what it waits for")
    out.print("Everything is stopped. Instances, volumes and images are kept.")
