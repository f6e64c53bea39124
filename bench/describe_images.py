"""DescribeImages with 1,000 images: answers a second, ours and moto's server side by side.

Both get the same signed request over one kept connection, in turns, so that a noisy machine is noisy for
both. The driver reads the body and does not parse it.
"""

import http.client
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

from bakehouse.host.run import start_program
from bench.figure import Figure, at_least
from bench.throwaway import Bench, free_port

IMAGES = 1000
_ROUNDS = 6
_ROUND_S = 3.0
_START_LIMIT_S = 60.0
_BODY = urlencode({"Action": "DescribeImages", "Version": "2016-11-15", "Owner.1": "self"})


@dataclass(kw_only=True)
class Server:
    """One of the two; ``rates`` are answers a second, one for each round."""

    port: int
    access_key_id: str
    secret_access_key: str
    rates: list[float] = field(default_factory=list)

    def client(self) -> Any:
        """boto3's client, for filling it."""
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415

        return boto3.client(
            "ec2",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(proxies={}),
        )

    def run_round(self) -> None:
        """Ask for all images for the length of a round."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        count, began = 0, time.monotonic()
        while time.monotonic() - began < _ROUND_S or count == 0:
            connection.request("POST", "/", body=_BODY, headers=self._sign())
            response = connection.getresponse()
            body = response.read()
            if response.status != http.HTTPStatus.OK or body.count(b"<imageId>") != IMAGES:
                raise RuntimeError(f"port {self.port}: status {response.status}, {body[:300]!r}")
            count += 1
        self.rates.append(count / (time.monotonic() - began))
        connection.close()

    def _sign(self) -> dict[str, str]:
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        request = AWSRequest("POST", f"http://127.0.0.1:{self.port}/", data=_BODY, headers=headers)
        key = Credentials(self.access_key_id, self.secret_access_key)
        SigV4Auth(key, "ec2", "us-east-1").add_auth(request)
        return dict(request.headers.items())


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield both rates and their ratio."""
    port = free_port()
    # The thousand images every moto server starts with would be searched too; that would not be fair.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    with start_program([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]):
        moto = Server(port=port, access_key_id="AKIABENCH", secret_access_key="secret")
        _wait_for(moto)
        ours = Server(
            port=bench.settings.listen_port,
            access_key_id=bench.connection.access_key_id,
            secret_access_key=bench.connection.secret_access_key,
        )
        image = bench.ec2.describe_images(ImageIds=[bench.base_image_id])["Images"][0]
        _fill(ours, image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"])
        volume = moto.client().create_volume(AvailabilityZone="us-east-1a", Size=8)["VolumeId"]
        _fill(moto, moto.client().create_snapshot(VolumeId=volume)["SnapshotId"])
        for _ in range(_ROUNDS):
            ours.run_round()
            moto.run_round()
    mine, theirs = max(ours.rates), max(moto.rates)
    yield Figure(name="DescribeImages, 1,000 images", figure=mine, unit="answers/s", note="best of 6 rounds")
    yield Figure(name="the same by moto's server", figure=theirs, unit="answers/s", note="best of 6 rounds")
    yield Figure(name="DescribeImages, ratio to moto", figure=mine / theirs, unit="times", target=at_least(5))


def _fill(server: Server, snapshot_id: str) -> None:
    client = server.client()

    def register(number: int) -> None:
        mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id, "VolumeSize": 8}}
        client.register_image(
            Name=f"image-{number:04}",
            Description="one of a thousand",
            Architecture="x86_64",
            RootDeviceName="/dev/xvda",
            VirtualizationType="hvm",
            BlockDeviceMappings=[mapping],
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(register, range(IMAGES)))


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
