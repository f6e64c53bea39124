"""The ``demo`` verb: sees to service and base image, tells the story, says what is left running."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bakehouse.cli.connection import Connection
from bakehouse.cli.demo.leftovers import KEY_NAME
from bakehouse.cli.demo.steps import DemoFailed, Steps
from bakehouse.cli.terminal import out, progress_bar
from bakehouse.host.diagnosis import Status
from bakehouse.settings import Settings

_SERIAL_TAIL_LINES = 40


def demo(
    context: typer.Context,
    clean: Annotated[bool, typer.Option("--clean", help="Only remove what an earlier demo has left.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Write what was printed to this file too, as SVG.")] = None,
) -> None:
    """Walk the loop on real machines: launch, customise, create image, launch an identical copy."""
    if picture is None:
        _demo(context.obj, clean)
        return
    from bakehouse.cli.demo.picture import save_picture

    out.record = True
    _demo(context.obj, clean)
    save_picture(out, picture)


def _demo(settings: Settings, clean: bool) -> None:
    from bakehouse.cli.demo.background import ensure_service
    from bakehouse.cli.demo.clients import boto3_client, enter_environment
    from bakehouse.cli.demo.leftovers import remove_leftovers

    steps = Steps(out)
    with steps.step("This host"):
        _examine_host(settings, steps)
    with steps.step("The service"):
        connection, was_started = ensure_service(settings)
        steps.note(f"{'started' if was_started else 'runs already'} at {connection.url}")
    enter_environment(connection)
    ec2 = boto3_client()
    with steps.step("What an earlier demo has left"):
        removed = remove_leftovers(ec2)
        steps.note(f"removed {', '.join(removed)}" if removed else "nothing")
    if not clean:
        _walk(settings, steps, connection, ec2)


def _walk(settings: Settings, steps: Steps, connection: Connection, ec2: Any) -> None:
    from bakehouse.cli.demo.clients import AwsCli
    from bakehouse.cli.demo.story import Story, tell

    try:
        base_image_id = _ensure_base_image(settings, steps, ec2)
        story = Story(steps=steps, ec2=ec2, aws=AwsCli(steps), state=settings.state)
        ending = tell(story, base_image_id)
    except BaseException:
        _print_serial_logs(settings, ec2)
        raise
    launcher = _launcher(Path(sys.argv[0]).absolute())
    key = settings.state.private_key(KEY_NAME)
    out.rule(f"the whole loop in {steps.total_s():.0f} s")
    out.print(f"webserver    http://{ending.webserver.address}/  ({ending.webserver.instance_id})")
    out.print(f"production   http://{ending.production.address}/  ({ending.production.instance_id})")
    out.print(f"image        {ending.image_id}")
    out.print(f"log in       ssh -i {key} admin@{ending.production.address}")
    out.print(f'your aws     eval "$({launcher} env)"; aws ec2 describe-instances   ({connection.url})')
    out.print(f"remove it    {launcher} demo --clean     stop everything: {launcher} down")


def _launcher(own: Path) -> str:
    """What the user types: ``./bakehouse`` in a checkout, whose environment ours is, else our own command."""
    if own.parts[-3:-1] != (".venv", "bin"):
        return str(own)
    of_checkout = own.parents[2] / "bakehouse"
    if not of_checkout.is_file():
        return str(own)
    return "./bakehouse" if of_checkout.parent == Path.cwd() else str(of_checkout)


def _examine_host(settings: Settings, steps: Steps) -> None:
    """Refuse early, with the remedy, where the story cannot work."""
    from bakehouse.main import diagnose

    for finding in diagnose(settings):
        if finding.status is Status.ERROR or (finding.check, finding.status) == ("low ports", Status.WARNING):
            raise DemoFailed(f"{finding.check}: {finding.detail}\n  remedy: {finding.remedy}")
        if finding.status is Status.WARNING or finding.check == "acceleration":
            steps.note(f"{finding.check}: {finding.detail}")


def _ensure_base_image(settings: Settings, steps: Steps, ec2: Any) -> str:
    """Return the base image of this version's recipe, built now unless it is there."""
    from bakehouse.main import build_base_image

    with steps.step("The base image"):
        with progress_bar() as progress:
            image_id = build_base_image(settings, progress)
        (found,) = ec2.describe_images(Owners=["amazon"], ImageIds=[image_id])["Images"]
        steps.note(f"{image_id}  {found['Name']}")
    return image_id


def _print_serial_logs(settings: Settings, ec2: Any) -> None:
    """Show the end of each demo machine's serial log: what a failed step is most often about."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    from bakehouse.cli.demo.leftovers import live_instances

    try:
        instance_ids = live_instances(ec2)
    except (BotoCoreError, ClientError) as error:
        out.print(f"the service does not answer ({error}); see {settings.state.service_log}", markup=False)
        return
    for instance_id in instance_ids:
        out.rule(f"serial log of {instance_id}")
        try:
            text = settings.state.instance(instance_id).serial_log.read_text(errors="replace")
        except OSError as error:
            text = f"cannot be read: {error}"
        out.print("\n".join([line for line in text.splitlines() if line.strip()][-_SERIAL_TAIL_LINES:]), markup=False)
