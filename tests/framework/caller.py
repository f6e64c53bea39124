"""An account that calls operations over one kept connection and sees what came back, whatever it is."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bakehouse.api.models import service_model
from tests.framework import wire
from tests.framework.service import Keys, Service

_TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One reply: its status, its bytes, and what botocore reads in them."""

    status: int
    body: bytes
    parsed: dict[str, Any]

    @property
    def code(self) -> str:
        """The error code, or "-"."""
        return str(self.parsed.get("Error", {}).get("Code", "-"))

    @property
    def message(self) -> str:
        """The error message, or nothing."""
        return str(self.parsed.get("Error", {}).get("Message", ""))


class Caller:
    """Calls as one account; unlike boto3 it checks nothing before it sends, and never retries."""

    def __init__(self, service: Service, keys: Keys) -> None:
        self.keys = keys
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=_TIMEOUT_S)

    def call(self, operation: str, parameters: Mapping[str, Any] | None = None, *, service: str = "ec2") -> Answer:
        """Call an operation with parameters in botocore's shape."""
        pairs = wire.write_parameters(service, operation, parameters or {})
        return self.send({**pairs, "Action": operation}, service=service)

    def send(self, pairs: Mapping[str, str], *, service: str = "ec2") -> Answer:
        """Send form pairs as they are, signed."""
        version = service_model(service).metadata["apiVersion"]
        request = wire.sign(
            {"Version": version, **pairs},
            access_key_id=self.keys.access_key_id,
            secret_access_key=self.keys.secret_access_key,
            service=service,
        )
        self._connection.request(request.method, "/", body=request.body, headers=dict(request.headers))
        response = self._connection.getresponse()
        body = response.read()
        operation = pairs["Action"] if response.status == http.HTTPStatus.OK else "DescribeRegions"
        model = service if response.status == http.HTTPStatus.OK else "ec2"
        parsed = wire.read_reply(model, operation, body, response.status)
        return Answer(status=response.status, body=body, parsed=parsed)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
