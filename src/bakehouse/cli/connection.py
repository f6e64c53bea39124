"""A boto3 client for the service on this host, or for the one the environment names.

Invariant: the commands use the same public API as everybody else; only addresses and keys are read from the
state directory.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakehouse.cli.terminal import fail
from bakehouse.host.endpoint import find_administrator_key, find_endpoint
from bakehouse.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

RegionOption = Annotated[
    str | None, typer.Option("--region", help="One of the service's regions; by default the first.", show_default=False)
]


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where the API answers and the key to use there."""

    url: str
    regions: tuple[str, ...]
    region: str
    access_key_id: str
    secret_access_key: str

    def variables(self) -> "Mapping[str, str]":
        """Return the environment variables that point any AWS client here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": self.region,  # read by the newer SDKs (JavaScript, Go, Rust)
            "AWS_DEFAULT_REGION": self.region,  # read by boto3 and the AWS CLI
        }

    def client(self, service: str = "ec2") -> Any:
        """Return a boto3 client."""
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]

        return boto3.client(
            service,
            config=Config(proxies={}),  # the service is on this host; a proxy to the internet is not asked
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
        )


def find_connection(settings: Settings) -> Connection | None:
    """Return the running service of this state directory, with the administrator's key; None if none runs."""
    endpoint = find_endpoint(settings.state)
    key = find_administrator_key(settings.state)
    if endpoint is None or key is None:
        return None
    return Connection(
        url=endpoint.url,
        regions=endpoint.regions,
        region=endpoint.region,
        access_key_id=key.access_key_id,
        secret_access_key=key.secret_access_key,
    )


def get_connection(settings: Settings, region: str | None = None) -> Connection:
    """Return the running service's connection, or end the command and say how to start it.

    ``region``: one of the service's regions, by default the home region.
    """
    try:
        connection = find_connection(settings)
    except PermissionError:
        fail(f"{settings.state_root} belongs to another user; run this as that user, or with sudo")
    if connection is None:
        fail(f"no service runs on {settings.state_root}; start it with: bakehouse serve")
    if region is None:
        return connection
    if region not in connection.regions:
        fail(f"{region} is none of the service's regions: {', '.join(connection.regions)} (BAKEHOUSE_REGIONS)")
    return replace(connection, region=region)
