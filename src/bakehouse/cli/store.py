"""``bakehouse check`` and ``bakehouse gc``: the block store."""

from typing import Annotated

import typer

from bakehouse.cli.terminal import err, fail, out, progress_bar


def check(context: typer.Context) -> None:
    """Verify every snapshot's manifest, every block's digest and every base; exit code 1 when one is damaged."""
    from bakehouse.main import check_storage

    with progress_bar() as progress:
        found = check_storage(context.obj, lambda done, total: progress("verifying blocks", done, total))
    for damage in found:
        finding = damage.finding
        used_by = f", needed by {', '.join(damage.images)}" if damage.images else ""
        out.print(f"{finding.snapshot_id}{used_by}: {finding.trouble}: {finding.message}", markup=False)
    if found:
        fail(f"{len(found)} {'place is' if len(found) == 1 else 'places are'} damaged")
    out.print("Every manifest is readable and every block is what its digest says.")


def gc(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
) -> None:
    """Delete blocks and manifests that no snapshot needs."""
    from bakehouse.main import collect_garbage

    with err.status("collecting"):
        collected = collect_garbage(context.obj)
    store = collected.store
    if not quiet:
        out.print(
            f"Deleted {store.deleted_manifests} manifests and {store.deleted_blocks} blocks, "
            f"{_mebibytes(store.freed_bytes + collected.base_bytes)} freed; {store.live_blocks} blocks, "
            f"{_mebibytes(store.live_bytes)} are in use."
        )


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.1f} MiB"
