"""The two clients of the demo, as anybody would have them after ``eval "$(bakehouse env)"``.

Invariant: nothing but the four variables of ``bakehouse env`` points them at Bakehouse.
"""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from bakehouse.cli.connection import Connection
from bakehouse.cli.demo.steps import DemoFailed, Steps
from bakehouse.host.run import run


def enter_environment(connection: Connection) -> None:
    """Set this process's environment as the user's shell would be; the user's own AWS settings step aside."""
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
        del os.environ[name]
    os.environ.update(connection.variables())
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_PAGER": ""}
    os.environ.update(nowhere)
    # A proxy on the way to the internet must not be asked for this host.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))


def boto3_client() -> Any:
    """Return boto3's EC2 client, configured by the environment alone."""
    import boto3  # type: ignore[import-untyped]

    return boto3.client("ec2")


class AwsCli:
    """The ``aws`` command."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._program = _find_aws()

    def __call__(self, *words: str) -> Any:
        """Run ``aws WORDS``, shown as it is; return its JSON output."""
        self._steps.command(shlex.join(["aws", *words]))
        answer = run([self._program, *words, "--output", "json"], timeout_s=120).stdout
        return json.loads(answer) if answer.strip() else None


def _find_aws() -> str:
    beside_us = Path(sys.executable).with_name("aws")
    found = str(beside_us) if beside_us.exists() else shutil.which("aws")
    if found is None:
        raise DemoFailed("the demo runs the AWS CLI, which is not here: pip install 'bakehouse[demo]'")
    return found
