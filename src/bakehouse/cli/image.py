"""``bakehouse image``: build the base image, import cloud images, list what is there."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from bakehouse.cli.connection import RegionOption, get_connection
from bakehouse.cli.terminal import fail, out, progress_bar

_COLUMNS = ("image", "name", "owner", "state", "size", "created")

app = typer.Typer(no_args_is_help=True, help="Build the base image, import cloud images, list images.")


@app.command()
def build(
    context: typer.Context,
    release: Annotated[
        str | None, typer.Option(help="Debian's code name: bookworm (12, by default) or trixie (13).")
    ] = None,
) -> None:
    """Build the Debian base image from Debian's archive; it becomes a public AMI of `amazon` in every region."""
    from bakehouse.main import build_base_image

    with progress_bar() as progress:
        image_id = build_base_image(context.obj, progress, release=release)
    out.print(image_id)


@app.command("import")
def import_(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A raw, qcow2, vmdk, vdi, vhd or vhdx disk: a file or an http(s) URL.")],
    name: Annotated[str | None, typer.Option(help="The AMI's name; by default the file's.")] = None,
) -> None:
    """Make a public AMI from a cloud image, in every region."""
    is_url = "://" in source
    if not is_url and not Path(source).is_file():
        fail(f"{source}: no such file")
    from bakehouse.main import import_image

    with progress_bar() as progress:
        image_id = import_image(
            context.obj,
            source if is_url else Path(source),
            name=name or Path(source.partition("?")[0]).stem,
            progress=progress,
        )
    out.print(image_id)


@app.command("list")
def list_(context: typer.Context, region: RegionOption = None) -> None:
    """List your images and the base images."""
    client = get_connection(context.obj, region).client()
    images = [
        image
        for page in client.get_paginator("describe_images").paginate(Owners=["self", "amazon"])
        for image in page["Images"]
    ]
    table = Table(*(Column(name, no_wrap=True) for name in _COLUMNS), box=None)
    for image in sorted(images, key=lambda image: str(image["CreationDate"])):
        table.add_row(*_row(image))
    out.print(table)


def _row(image: dict[str, Any]) -> list[str]:
    size_gib = sum(mapping.get("Ebs", {}).get("VolumeSize", 0) for mapping in image["BlockDeviceMappings"])
    return [
        image["ImageId"],
        image.get("Name", ""),
        image.get("ImageOwnerAlias", image["OwnerId"]),
        image["State"],
        f"{size_gib} GiB",
        image["CreationDate"],
    ]
