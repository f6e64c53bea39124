"""moto's server beside ours, and one way to ask both: the same signed request over one kept connection.

Run as a program it is that server, with COUNT images and instances in it: ``python -m bench.rival PORT COUNT``.
"""

import http.client
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

from bakehouse.host.run import start_program
from bench.throwaway import Bench, free_port

_START_LIMIT_S = 300.0
_TIMEOUT_S = 300.0
# Each launch costs moto the more the more there are: ten thousand would take many minutes.
MOST_INSTANCES = 1000
_ACCOUNT_ID = "123456789012"


@dataclass(frozen=True, kw_only=True)
class Server:
    """One of the two."""

    port: int
    access_key_id: str
    secret_access_key: str

    def client(self) -> Any:
        """boto3's client, for filling it."""
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415

        return boto3.client(
            "ec2",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(proxies={}, read_timeout=_TIMEOUT_S),
        )

    def ask_for(self, seconds: float, action: str, parameters: dict[str, str], *, status: int = 200) -> "Answers":
        """Ask again and again for so long; the body is read and not parsed."""
        form = urlencode({"Action": action, "Version": "2016-11-15", **parameters})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_S)
        count, began, body = 0, time.monotonic(), b""
        while time.monotonic() - began < seconds or count == 0:
            connection.request("POST", "/", body=form, headers=self._sign(form))
            response = connection.getresponse()
            body = response.read()
            if response.status != status:
                raise RuntimeError(f"port {self.port}: {action}: status {response.status}, {body[:300]!r}")
            count += 1
        took_s = time.monotonic() - began
        connection.close()
        return Answers(seconds_each=took_s / count, body=body)

    def _sign(self, form: str) -> dict[str, str]:
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        request = AWSRequest("POST", f"http://127.0.0.1:{self.port}/", data=form, headers=headers)
        key = Credentials(self.access_key_id, self.secret_access_key)
        SigV4Auth(key, "ec2", "us-east-1").add_auth(request)
        return dict(request.headers.items())


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How long each took, and the last one's body."""

    seconds_each: float
    body: bytes


def ours(bench: Bench) -> Server:
    """The service being measured."""
    key = bench.connection
    return Server(
        port=bench.settings.listen_port, access_key_id=key.access_key_id, secret_access_key=key.secret_access_key
    )


@contextmanager
def running_moto(size: int = 0) -> Iterator[Server]:
    """Start moto's server with so many images and instances of the asking account."""
    port = free_port()
    # The thousand images every moto server starts with would be searched too; that would not be fair.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    with start_program([sys.executable, "-m", "bench.rival", str(port), str(size)]):
        moto = Server(port=port, access_key_id="AKIABENCH", secret_access_key="secret")
        _wait_for(moto)
        yield moto


def _wait_for(server: Server) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while True:
        try:
            server.client().describe_regions()
        except BotoCoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _serve(port: str, size: int) -> None:
    from moto.server import main  # noqa: PLC0415

    if size:
        _fill(size)
    main(["-H", "127.0.0.1", "-p", port])


def _fill(size: int) -> None:
    """Instances first, since each launch looks through all images."""
    import boto3  # noqa: PLC0415
    from moto import mock_aws  # noqa: PLC0415
    from moto.ec2.models import ec2_backends  # noqa: PLC0415

    mock = mock_aws()
    mock.start()
    backend = ec2_backends[_ACCOUNT_ID]["us-east-1"]
    image = backend.register_image(name="image-00000", description="one of many")
    count = min(size, MOST_INSTANCES)
    how = {"ImageId": image.id, "InstanceType": "t3.nano"}
    boto3.client("ec2", region_name="us-east-1").run_instances(MinCount=count, MaxCount=count, **how)
    for number in range(1, size):
        backend.register_image(name=f"image-{number:05}", description="one of many")
    mock.stop(remove_data=False)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
