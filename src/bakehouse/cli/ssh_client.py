"""How the command line calls OpenSSH's ``ssh``.

Invariant: a host key is remembered under the instance's id, never under its address, since addresses are used
again by other machines.
"""

import os
from pathlib import Path

from bakehouse.paths import StateDirectory


def ssh_arguments(state: StateDirectory, *, instance_id: str, address: str, user: str, key: Path | None) -> list[str]:
    """Return the words after ``ssh`` up to and including the host."""
    options = {
        "HostKeyAlias": instance_id,
        "StrictHostKeyChecking": "accept-new",
        "LogLevel": "ERROR",
        "ServerAliveInterval": "15",
    }
    if os.access(state.root, os.W_OK):
        options["UserKnownHostsFile"] = str(state.known_hosts)
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    if key is not None:
        words += ["-i", str(key), "-o", "IdentitiesOnly=yes"]
    return [*words, f"{user}@{address}"]
