"""The instance metadata service, over real sockets on the loopback address."""

import asyncio
import json
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bakehouse.guest import metadata as service
from bakehouse.guest.metadata import MetadataServer, parse_head
from bakehouse.guest.metadata_tree import GroupName, InstanceMetadata, ProfileMetadata, RoleCredentials

VPC = "vpc-00000000000000001"
ABOUT = InstanceMetadata(
    instance_id="i-00000000000000001",
    account_id="111122223333",
    image_id="ami-00000000000000001",
    instance_type="t3.micro",
    reservation_id="r-00000000000000001",
    launched_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    region="us-east-1",
    availability_zone="us-east-1a",
    availability_zone_id="use1-az1",
    architecture="x86_64",
    vpc_id=VPC,
    vpc_cidr="172.31.0.0/16",
    subnet_id="subnet-00000000000000001",
    subnet_cidr="172.31.0.0/20",
    interface_id="eni-00000000000000001",
    mac="02:00:00:00:00:0a",
    private_ip="172.31.0.10",
    private_dns_name="ip-172-31-0-10.ec2.internal",
    public_ip="127.66.0.5",
    public_dns_name="ec2-127-66-0-5.compute-1.amazonaws.com",
    groups=(
        GroupName(group_id="sg-000000000000000aa", group_name="web"),
        GroupName(group_id="sg-000000000000000bb", group_name="db"),
    ),
    key_name="my key",
    public_key="ssh-ed25519 AAAA me",
    user_data=b"\x00\xff raw \r\n bytes",
    block_devices={"ami": "sda1", "root": "/dev/sda1", "ebs1": "sdf"},
    tags={"Name": "baker"},
)


class Imds:
    """One server and a raw client; the guest is 127.0.0.1."""

    def __init__(self) -> None:
        self.minted_for: list[str] = []
        self.credentials: RoleCredentials | None = None
        self.instances: dict[str, InstanceMetadata] = {"127.0.0.1": ABOUT}
        self.server = MetadataServer(lambda vpc, ip: self.instances.get(ip) if vpc == VPC else None, self.mint)

    def mint(self, instance_id: str) -> RoleCredentials | None:
        self.minted_for.append(instance_id)
        return self.credentials

    async def talk(self, data: bytes, *, source: str = "127.0.0.1", vpc_id: str = VPC) -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            address = listener.getsockname()
            serving = asyncio.create_task(self.server.serve(vpc_id, listener.dup()))
            try:
                reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
                writer.write(data)
                reply = await asyncio.wait_for(reader.read(), 10)
                writer.close()
                return reply
            finally:
                serving.cancel()

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        source: str = "127.0.0.1",
        vpc_id: str = VPC,
    ) -> tuple[int, bytes]:
        lines = [f"{method} {path} HTTP/1.1", "Host: 169.254.169.254", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        reply = run(self.talk("\r\n".join([*lines, "", ""]).encode(), source=source, vpc_id=vpc_id))
        head, _, body = reply.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def read(self, path: str) -> str:
        status, body = self.ask(path)
        assert status == 200, path
        return body.decode()

    def token(self, **more: Any) -> str:
        status, body = self.ask(
            "/latest/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}, **more
        )
        assert status == 200
        return body.decode()


def run(work: Coroutine[Any, Any, bytes]) -> bytes:
    return asyncio.run(work)


@pytest.fixture
def imds() -> Imds:
    return Imds()


@contextmanager
def limited(monkeypatch: pytest.MonkeyPatch, name: str, value: float) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(service, name, value)
        yield


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("meta-data/instance-id", "i-00000000000000001"),
        ("meta-data/ami-id", "ami-00000000000000001"),
        ("meta-data/ami-launch-index", "0"),
        ("meta-data/instance-type", "t3.micro"),
        ("meta-data/local-ipv4", "172.31.0.10"),
        ("meta-data/local-hostname", "ip-172-31-0-10.ec2.internal"),
        ("meta-data/public-ipv4", "127.66.0.5"),
        ("meta-data/placement/availability-zone", "us-east-1a"),
        ("meta-data/placement/region", "us-east-1"),
        ("meta-data/placement/", "availability-zone\navailability-zone-id\nregion"),
        ("meta-data/security-groups", "web\ndb"),
        ("meta-data/block-device-mapping/", "ami\nroot\nebs1"),
        ("meta-data/block-device-mapping/root", "/dev/sda1"),
        ("meta-data/public-keys/", "0=my key"),
        ("meta-data/public-keys/0/", "openssh-key"),
        ("meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA me\n"),
        ("meta-data/network/interfaces/macs/", "02:00:00:00:00:0a/"),
        ("meta-data/network/interfaces/macs/02:00:00:00:00:0a/vpc-id", VPC),
        ("meta-data//services/partition", "aws"),
        ("meta-data/services/domain?x=1", "amazonaws.com"),
    ],
)
def test_the_tree_reads_as_in_ec2_under_every_version(imds: Imds, path: str, value: str) -> None:
    for version in ("latest", "2009-04-04", "2021-03-23"):
        assert imds.read(f"/{version}/{path}") == value


def test_listings_lead_down_to_every_value(imds: Imds) -> None:
    versions = imds.read("/").split("\n")
    assert versions[-1] == "latest"
    assert "2021-03-23" in versions
    assert imds.read("/latest").split("\n") == ["dynamic", "meta-data", "user-data"]
    assert "tags/" not in imds.read("/latest/meta-data/")
    paths = ["meta-data/", "dynamic/"]
    leaves = 0
    while paths:
        path = paths.pop()
        for name in imds.read(f"/latest/{path}").split("\n"):
            child = name.partition("=")[0] + "/" if "=" in name else name
            if child.endswith("/"):
                paths.append(path + child)
            else:
                imds.read(f"/latest/{path}{child}")
                leaves += 1
    assert leaves > 40


def test_user_data_comes_back_byte_for_byte(imds: Imds) -> None:
    assert imds.ask("/latest/user-data") == (200, ABOUT.user_data)


def test_what_an_instance_does_not_have_is_not_found(imds: Imds) -> None:
    imds.instances["127.0.0.1"] = replace(ABOUT, user_data=None, public_key=None, public_ip=None, public_dns_name=None)
    for path in (
        "user-data",
        "meta-data/public-keys/",
        "meta-data/public-ipv4",
        "meta-data/tags/instance/Name",
    ):
        assert imds.ask(f"/latest/{path}")[0] == 404, path


def test_names_that_do_not_exist_are_not_found(imds: Imds) -> None:
    for path in (
        "/1999-01-01/meta-data/",
        "/latest/x",
        "/latest/meta-data/instance-id/",
        "/latest/meta-data/ami-id/x",
    ):
        assert imds.ask(path)[0] == 404, path


def test_tags_are_shown_when_the_instance_allows_it(imds: Imds) -> None:
    imds.instances["127.0.0.1"] = replace(ABOUT, shows_tags=True)
    assert imds.read("/latest/meta-data/tags/instance/Name") == "baker"


def test_the_identity_document_is_json_about_the_instance(imds: Imds) -> None:
    document = json.loads(imds.read("/latest/dynamic/instance-identity/document"))
    assert document["instanceId"] == ABOUT.instance_id
    assert document["accountId"] == ABOUT.account_id
    assert document["pendingTime"] == "2026-01-02T03:04:05Z"


def test_product_codes_are_told_one_a_line(imds: Imds) -> None:
    assert imds.ask("/latest/meta-data/product-codes")[0] == 404
    imds.instances["127.0.0.1"] = replace(ABOUT, product_codes=("abc", "def"))
    assert imds.read("/latest/meta-data/product-codes") == "abc\ndef"
    document = json.loads(imds.read("/latest/dynamic/instance-identity/document"))
    assert document["marketplaceProductCodes"] == ["abc", "def"]


def test_a_token_opens_the_service_where_one_is_required(imds: Imds) -> None:
    imds.instances["127.0.0.1"] = replace(ABOUT, requires_token=True)
    assert imds.ask("/latest/meta-data/instance-id")[0] == 401
    token = imds.token()
    assert len(token) == 56
    assert imds.ask("/latest/meta-data/instance-id", headers={service.TOKEN_HEADER: token})[0] == 200


@pytest.mark.parametrize("token", ["", "x", "A" * 56, "é", "=" * 56])
def test_a_wrong_token_is_refused_even_where_none_is_required(imds: Imds, token: str) -> None:
    headers = {service.TOKEN_HEADER: token}
    assert imds.ask("/latest/meta-data/instance-id", headers=headers)[0] == 401


def test_a_token_is_good_for_its_own_instance_only(imds: Imds) -> None:
    token = imds.token()
    imds.instances["127.0.0.1"] = replace(ABOUT, instance_id="i-00000000000000002")
    assert imds.ask("/latest/meta-data/", headers={service.TOKEN_HEADER: token})[0] == 401


def test_a_token_expires(imds: Imds, monkeypatch: pytest.MonkeyPatch) -> None:
    token = imds.token()
    monkeypatch.setattr("bakehouse.guest.metadata_tokens.time.time", lambda: 2e9 + 4e8)
    assert imds.ask("/latest/meta-data/", headers={service.TOKEN_HEADER: token})[0] == 401


# Longer than any life, though its first digits are a sensible one.
LONG_LIVES = ["0000000019999999999", "0000000019" + "9" * 29, "000000001" + "9" * 5000]


@pytest.mark.parametrize("ttl", [None, "", "0", "21601", "-1", "x", "1e3", "9" * 500, "²", *LONG_LIVES])
def test_a_token_needs_a_sensible_life(imds: Imds, ttl: str | None) -> None:
    headers = {} if ttl is None else {service.TTL_HEADER: ttl}
    assert imds.ask("/latest/api/token", method="PUT", headers=headers)[0] == 400


def test_a_forwarded_request_gets_no_token(imds: Imds) -> None:
    headers = {service.TTL_HEADER: "60", "X-Forwarded-For": "10.0.0.1"}
    assert imds.ask("/latest/api/token", method="PUT", headers=headers)[0] == 403


def test_a_disabled_endpoint_answers_nothing(imds: Imds) -> None:
    imds.instances["127.0.0.1"] = replace(ABOUT, is_enabled=False)
    assert imds.ask("/latest/meta-data/")[0] == 403


def test_another_address_or_vpc_learns_nothing(imds: Imds) -> None:
    assert imds.ask("/latest/meta-data/instance-id", source="127.0.0.2")[0] == 404
    assert imds.ask("/latest/meta-data/instance-id", vpc_id="vpc-00000000000000002")[0] == 404


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(imds: Imds, method: str) -> None:
    assert imds.ask("/latest/meta-data/", method=method)[0] == 405


def test_head_sends_no_body(imds: Imds) -> None:
    assert imds.ask("/latest/meta-data/ami-id", method="HEAD") == (200, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nfolded: a\r\n b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20000 + b"\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
    ],
)
def test_malformed_and_oversized_requests_are_refused_at_once(imds: Imds, data: bytes) -> None:
    assert run(imds.talk(data)).startswith(b"HTTP/1.1 400")


def test_a_connection_serves_several_requests(imds: Imds) -> None:
    one = b"GET /latest/meta-data/ami-id HTTP/1.1\r\n\r\n"
    last = b"GET /latest/meta-data/ami-id HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert run(imds.talk(one + one + last)).count(b"HTTP/1.1 200 OK") == 3


def test_a_request_that_never_ends_is_cut_off(imds: Imds, monkeypatch: pytest.MonkeyPatch) -> None:
    with limited(monkeypatch, "_REQUEST_TIMEOUT_S", 0.2):
        assert run(imds.talk(b"GET /latest/meta-data/ami-id HTT")) == b""


def test_a_guest_gets_a_limited_number_of_connections(imds: Imds, monkeypatch: pytest.MonkeyPatch) -> None:
    with limited(monkeypatch, "_CONNECTIONS_PER_GUEST", 0), pytest.raises(ConnectionResetError):
        run(imds.talk(b"GET / HTTP/1.1\r\n\r\n"))


def test_a_failing_lookup_is_an_error_of_ours_not_a_dead_service(imds: Imds) -> None:
    def fail(_vpc: str, _ip: str) -> InstanceMetadata | None:
        raise RuntimeError("no database")

    imds.server = MetadataServer(fail, imds.mint)
    assert imds.ask("/latest/meta-data/")[0] == 500


def test_header_names_are_read_in_any_case() -> None:
    request = parse_head(b"GET /a%2Fb//c/?q HTTP/1.0\r\nX-Thing:  v \r\n\r\n")
    assert request is not None
    assert request.headers == {"x-thing": "v"}
    assert request.path == ["a", "b", "c"]
    assert request.ends_in_slash
    assert not request.keeps_alive


PROFILE = ProfileMetadata(
    arn="arn:aws:iam::111122223333:instance-profile/web",
    profile_id="AIPAAAAAAAAAAAAAAAAAA",
    associated_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    role_name="web-role",
)


def test_an_instance_without_a_profile_has_no_iam(imds: Imds) -> None:
    assert "iam" not in imds.read("/latest/meta-data/")
    assert imds.ask("/latest/meta-data/iam/info")[0] == 404


def test_credentials_are_made_for_the_one_question_that_asks_for_them(imds: Imds) -> None:
    imds.instances["127.0.0.1"] = replace(ABOUT, profile=PROFILE)
    imds.credentials = RoleCredentials(
        access_key_id="ASIA",
        secret_access_key="secret",
        session_token="token",
        made_at=datetime(2026, 1, 2, tzinfo=UTC),
        expires_at=datetime(2026, 1, 2, 6, tzinfo=UTC),
    )
    base = "/latest/meta-data/iam"
    assert "iam/" in imds.read("/latest/meta-data/").split("\n")
    assert imds.read(f"{base}/security-credentials/") == "web-role"
    assert json.loads(imds.read(f"{base}/info"))["InstanceProfileArn"] == PROFILE.arn
    assert imds.ask(f"{base}/security-credentials/other")[0] == 404
    assert imds.ask(f"{base}/security-credentials/web-role", source="127.0.0.2")[0] == 404
    assert imds.minted_for == []
    assert json.loads(imds.read(f"{base}/security-credentials/web-role")) == {
        "Code": "Success",
        "LastUpdated": "2026-01-02T00:00:00Z",
        "Type": "AWS-HMAC",
        "AccessKeyId": "ASIA",
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": "2026-01-02T06:00:00Z",
    }
    assert imds.minted_for == [ABOUT.instance_id]


def test_without_a_token_no_credentials_are_made_where_one_is_required(imds: Imds) -> None:
    imds.instances["127.0.0.1"] = replace(ABOUT, profile=PROFILE, requires_token=True)
    assert imds.ask("/latest/meta-data/iam/security-credentials/web-role")[0] == 401
    assert imds.minted_for == []


def test_credentials_are_in_no_log_and_no_repr() -> None:
    shown = repr(
        RoleCredentials(
            access_key_id="ASIA",
            secret_access_key="a secret",
            session_token="a token",
            made_at=PROFILE.associated_at,
            expires_at=PROFILE.associated_at,
        )
    )
    assert "a secret" not in shown
    assert "a token" not in shown
