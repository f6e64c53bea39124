"""SSH into the demo's instances with the key pair's private half, and what a machine says about itself."""

import time
from dataclasses import dataclass, fields
from pathlib import Path

from bakehouse.cli.demo.steps import DemoFailed
from bakehouse.cli.ssh_client import ssh_arguments
from bakehouse.host.run import CommandFailed, run
from bakehouse.paths import StateDirectory

USER = "admin"
_IDENTITY_COMMAND = """
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
curl -sf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id; echo
curl -sf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/local-ipv4; echo
hostname
cat /etc/machine-id
cat /etc/ssh/ssh_host_*_key.pub | cut -d ' ' -f 2 | sort | tr '\\n' ' '; echo
"""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What makes a machine itself, as seen from inside it."""

    instance_id: str
    private_address: str
    hostname: str
    machine_id: str
    host_keys: str

    def shared_with(self, other: "Identity") -> list[str]:
        """Name the fields that are equal in both."""
        names = [field.name for field in fields(self)]
        return [name for name in names if getattr(self, name) == getattr(other, name)]


@dataclass(frozen=True, kw_only=True)
class Login:
    """A way into one instance."""

    state: StateDirectory
    instance_id: str
    address: str
    key: Path

    def run(self, command: str, *, stdin: str = "", timeout_s: float = 60) -> str:
        """Run a shell command in the guest; return its stdout. CommandFailed with its stderr."""
        options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
        words = ssh_arguments(self.state, instance_id=self.instance_id, address=self.address, user=USER, key=self.key)
        return run(["ssh", *options, *words, command], stdin=stdin, timeout_s=timeout_s).stdout

    def wait(self, *, timeout_s: float) -> None:
        """Wait until the guest lets us in."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.run("true", timeout_s=30)
            except CommandFailed as error:
                if time.monotonic() > deadline:
                    raise DemoFailed(f"no SSH to {self.instance_id} within {timeout_s:g} s: {error}") from error
                time.sleep(0.5)
            else:
                return

    def identity(self) -> Identity:
        """Ask the machine who it is; metadata by IMDSv2."""
        lines = self.run(_IDENTITY_COMMAND).splitlines()
        if len(lines) != len(fields(Identity)) or not all(line.strip() for line in lines):
            raise DemoFailed(f"{self.instance_id} does not know who it is: {lines}")
        return Identity(
            instance_id=lines[0],
            private_address=lines[1],
            hostname=lines[2],
            machine_id=lines[3],
            host_keys=lines[4],
        )
