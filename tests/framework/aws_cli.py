"""The unmodified AWS CLI against a service of the tests."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.framework.patience import WAITS
from tests.framework.service import Keys, Service


class Aws:
    """``aws`` against the service; its own waiters poll every 15 seconds, so they are asked when it is time."""

    def __init__(self, service: Service, keys: Keys | None = None) -> None:
        found = Path(sys.executable).with_name("aws")
        self._program = str(found) if found.exists() else "aws"
        keys = keys or service.administrator
        self._variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(service.state_root),
            "AWS_ENDPOINT_URL": service.url,
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }
        self._client = service.client(keys=keys)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``aws WORDS``."""
        command = [self._program, *words, "--output", "json"]
        return subprocess.run(
            command,
            env=self._variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def __call__(self, *words: str) -> Any:
        """What ``aws ec2 WORDS`` prints, read; fails when it does."""
        return self.of("ec2", *words)

    def of(self, service: str, *words: str) -> Any:
        """What ``aws SERVICE WORDS`` prints, read; fails when it does."""
        done = self.run(service, *words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refused(self, *words: str) -> str:
        """The error code ``aws ec2 WORDS`` fails with."""
        done = self.run("ec2", *words)
        assert done.returncode == 254 or "An error occurred (" in done.stderr, done.stderr
        return done.stderr.partition("An error occurred (")[2].partition(")")[0]

    def wait(self, waiter: str, option: str, resource_id: str) -> None:
        """Wait until the time has come, then have ``aws ec2 wait`` find it so."""
        parameter = {"--image-ids": "ImageIds", "--instance-ids": "InstanceIds", "--snapshot-ids": "SnapshotIds"}
        name = parameter.get(option, "VolumeIds")
        self._client.get_waiter(waiter).wait(**{name: [resource_id]}, WaiterConfig=WAITS)
        self("wait", waiter.replace("_", "-"), option, resource_id)
