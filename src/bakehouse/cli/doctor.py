"""``bakehouse doctor``: what this host can do, and what to do about what it cannot."""

import typer
from rich.table import Table
from rich.text import Text

from bakehouse.cli.terminal import out
from bakehouse.host.diagnosis import Finding, Status

_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.ERROR: "bold red"}


def doctor(context: typer.Context) -> None:
    """Look at this host: acceleration, namespaces, memory, disk, packages; exit code 1 on an error."""
    from bakehouse.main import diagnose

    findings = diagnose(context.obj)
    out.print(_table(findings))
    if any(finding.status is Status.ERROR for finding in findings):
        raise typer.Exit(1)


def _table(findings: list[Finding]) -> Table:
    table = Table("", "check", "", box=None, show_header=False)
    for finding in findings:
        detail = Text(finding.detail)
        if finding.remedy:
            detail.append(f"\n→ {finding.remedy}", style="bold")
        table.add_row(Text(finding.status, style=_STYLES[finding.status]), finding.check, detail)
    return table
