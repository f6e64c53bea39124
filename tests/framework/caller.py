"""An account that calls operations over one kept connection and sees what came back, whatever it is."""

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import get_operation_model, service_model
from tests.framework import wire
from tests.framework.service import Keys, Service

_TIMEOUT_S = 60
# The service closes what is idle for longer than a minute.
_MAX_IDLE_S = 30
_ANY_OPERATION = {
    "ec2": "DescribeRegions",
    "iam": "ListUsers",
    "rbin": "ListRules",
    "ssm": "DescribeParameters",
    "sts": "GetCallerIdentity",
}


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
        self._used_at = time.monotonic()
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=_TIMEOUT_S)

    def call(self, operation: str, parameters: Mapping[str, Any] | None = None, *, service: str = "ec2") -> Answer:
        """Call an operation with parameters in botocore's shape."""
        if service_model(service).metadata["protocol"] in ("ec2", "query"):
            pairs = wire.write_parameters(service, operation, parameters or {})
            return self.send({**pairs, "Action": operation}, service=service)
        request = wire.write_request(service, operation, parameters or {})
        return self.send_request(wire.sign_request(request, self._credentials, service), operation, service=service)

    def call_body(self, operation: str, body: bytes, *, service: str) -> Answer:
        """Call an operation of a service that speaks JSON with these bytes for its document."""
        least = wire.fill_least(get_operation_model(service, operation).input_shape)
        request = replace(wire.write_request(service, operation, least), body=body)
        return self.send_request(wire.sign_request(request, self._credentials, service), operation, service=service)

    def call_request(self, request: HttpRequest, operation: str, *, service: str) -> Answer:
        """Sign a request and send it."""
        return self.send_request(wire.sign_request(request, self._credentials, service), operation, service=service)

    @property
    def _credentials(self) -> tuple[str, str]:
        return self.keys.access_key_id, self.keys.secret_access_key

    def send(self, pairs: Mapping[str, str], *, service: str = "ec2") -> Answer:
        """Send form pairs as they are, signed."""
        version = service_model(service).metadata["apiVersion"]
        return self.send_form({"Version": version, **pairs}, pairs["Action"], service=service)

    def send_form(self, form: Mapping[str, str] | bytes, operation: str, *, service: str = "ec2") -> Answer:
        """Send a form, or whatever the bytes are, signed."""
        request = wire.sign(
            form,
            access_key_id=self.keys.access_key_id,
            secret_access_key=self.keys.secret_access_key,
            service=service,
        )
        return self.send_request(request, operation, service=service)

    def send_request(self, request: HttpRequest, operation: str, *, service: str = "ec2") -> Answer:
        """Send a request as it is."""
        if time.monotonic() - self._used_at > _MAX_IDLE_S:
            self._connection.close()
        self._used_at = time.monotonic()
        query = "?" + request.query.decode() if request.query else ""
        path = request.raw_path.decode() + query
        self._connection.request(request.method, path, body=request.body, headers=dict(request.headers))
        response = self._connection.getresponse()
        body = response.read()
        is_answer = response.status < http.HTTPStatus.BAD_REQUEST
        # How errors are written depends on the service only, so any of its operations will do.
        known = operation if is_answer else _ANY_OPERATION[service]
        parsed = wire.read_reply(service, known, body, response.status, dict(response.headers))
        return Answer(status=response.status, body=body, parsed=parsed)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
