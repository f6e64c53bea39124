"""``bakehouse check`` and ``bakehouse gc``: the block store."""

from typing import Annotated

import typer

from bakehouse.cli.terminal import err, out, progress_bar


def check(context: typer.Context) -> None:
    """Verify every snapshot's manifest and every block's digest; exit code 1 when something is damaged."""
    from bakehouse.main import check_storage

    with progress_bar() as progress:
        findings = check_storage(context.obj, lambda done, total: progress("verifying blocks", done, total))
    for finding in findings:
        out.print(f"{finding.snapshot_id}: {finding.trouble}: {finding.message}", markup=False)
    if findings:
        raise typer.Exit(1)
    out.print("Every manifest is readable and every block is what its digest says.")


def gc(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
) -> None:
    """Delete blocks and manifests that no snapshot needs."""
    from bakehouse.main import collect_garbage

    with err.status("collecting"):
        collected = collect_garbage(context.obj)
    if not quiet:
        out.print(
            f"Deleted {collected.deleted_manifests} manifests and {collected.deleted_blocks} blocks, "
            f"{_mebibytes(collected.freed_bytes)} freed; {collected.live_blocks} blocks, "
            f"{_mebibytes(collected.live_bytes)} are in use."
        )


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.1f} MiB"
