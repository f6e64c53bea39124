"""``bakehouse ssh`` and ``bakehouse logs``: one instance, named by its id or its Name tag."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from bakehouse.cli.connection import RegionOption, get_connection
from bakehouse.cli.ssh_client import ssh_arguments
from bakehouse.cli.terminal import fail
from bakehouse.settings import Settings

_FOLLOW_INTERVAL_S = 1.0


def ssh(
    context: typer.Context,
    instance: Annotated[str, typer.Argument(help="An instance id, or the value of a Name tag.")],
    command: Annotated[list[str] | None, typer.Argument(help="Run this instead of a shell.")] = None,
    *,
    user: Annotated[str, typer.Option(help="The user to log in as.")] = "admin",
    identity: Annotated[Path | None, typer.Option("-i", help="The private key of its key pair.")] = None,
    region: RegionOption = None,
) -> None:
    """Log in to an instance."""
    settings: Settings = context.obj
    found = find_instance(get_connection(settings, region).client(), instance)
    if not (address := found.get("PublicIpAddress")):
        fail(f"{found['InstanceId']} has no public address (it is {found['State']['Name']})")
    program = shutil.which("ssh") or fail("there is no ssh here: apt-get install openssh-client")
    key = identity or find_private_key(settings, found.get("KeyName"))
    words = ssh_arguments(settings.state, instance_id=found["InstanceId"], address=address, user=user, key=key)
    os.execv(program, ["ssh", *words, *(command or [])])  # noqa: S606  the user's own words, no shell here


def logs(
    context: typer.Context,
    instance: Annotated[str, typer.Argument(help="An instance id, or the value of a Name tag.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what comes.")] = False,
    region: RegionOption = None,
) -> None:
    """Print an instance's serial console."""
    client = get_connection(context.obj, region).client()
    instance_id = find_instance(client, instance)["InstanceId"]
    seen = ""
    while True:
        text = client.get_console_output(InstanceId=instance_id, Latest=True).get("Output", "")
        sys.stdout.write(what_is_new(seen, text))
        sys.stdout.flush()
        seen = text
        if not follow:
            return
        time.sleep(_FOLLOW_INTERVAL_S)


def what_is_new(seen: str, text: str) -> str:
    """Return what ``text`` holds beyond ``seen``; both are windows on the end of one growing log."""
    if text.startswith(seen):
        return text[len(seen) :]
    tail = seen[-1000:]
    position = text.rfind(tail)
    return text[position + len(tail) :] if position >= 0 else text


def find_instance(client: Any, id_or_name: str) -> dict[str, Any]:
    """Return the one live instance of this id or Name tag, or end the command."""
    by_id = id_or_name.startswith("i-")
    name = "instance-id" if by_id else "tag:Name"
    reservations = client.describe_instances(Filters=[{"Name": name, "Values": [id_or_name]}])["Reservations"]
    found: list[dict[str, Any]] = [each for one in reservations for each in one["Instances"]]
    if not by_id:
        found = [each for each in found if each["State"]["Name"] not in ("terminated", "shutting-down")]
    if not found:
        fail(f"there is no instance {id_or_name}")
    if len(found) > 1:
        fail(f"several instances are named {id_or_name}: {', '.join(each['InstanceId'] for each in found)}")
    return found[0]


def find_private_key(settings: Settings, key_name: str | None) -> Path | None:
    """Return where the private key of a key pair lies, in the places people keep it; else None."""
    if not key_name or "/" in key_name:
        return None
    places = (Path(f"{key_name}.pem"), Path.home() / ".ssh" / f"{key_name}.pem")
    for path in (settings.state.private_key(key_name), *places):
        if os.access(path, os.R_OK):
            return path
    return None
