"""HTTP around the gateway: real sockets on the loopback, polite and impolite clients."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from bakehouse.api import http
from bakehouse.api.http import Answers, create_app
from bakehouse.api.http_request import HttpRequest
from bakehouse.api.protocol.form import MAX_BODY_BYTES
from bakehouse.api.protocol.interface import Reply
from bakehouse.api.server import LimitedProtocol, make_server
from bakehouse.errors import ApiError
from tests.framework.kitchen import ALICE, Kitchen, open_kitchen
from tests.framework.tiny_host import wait_for

# For what comes when the server says so, however busy the host is.
PATIENCE_S = 60


@contextmanager
def serving(gateway: Answers, *, body_timeout_s: float) -> Iterator[int]:
    """A server that waits that long for a body: its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(create_app(gateway, body_timeout_s=body_timeout_s), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=PATIENCE_S)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture(name="served", scope="module")
def _served() -> Iterator[tuple[int, Kitchen]]:
    gateway, kitchen = open_kitchen()
    with serving(gateway, body_timeout_s=1) as port:
        yield port, kitchen


@pytest.fixture(name="port")
def _port(served: tuple[int, Kitchen]) -> int:
    return served[0]


def client(port: int, service: str, **changes: Any) -> Any:
    settings = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": "us-east-1",
        "aws_access_key_id": ALICE.access_key_id,
        "aws_secret_access_key": ALICE.secret_access_key,
        "config": Config(retries={"max_attempts": 1}),
    }
    return boto3.client(service, **{**settings, **changes})


def send(port: int, data: bytes, *, closes: bool = False) -> bytes:
    """Send raw bytes; the reply's bytes up to the end of the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        # A server that has said what it thinks of the beginning may hang up on the rest.
        with suppress(ConnectionError):
            connection.sendall(data)
        with suppress(ConnectionError):
            while not closes and (chunk := connection.recv(65536)):
                received += chunk
    return received


def test_boto3_is_served(port: int) -> None:
    assert client(port, "sts").get_caller_identity()["Account"] == "111111111111"
    pages = client(port, "ec2").get_paginator("describe_volumes").paginate(PaginationConfig={"PageSize": 7})
    assert [len(page["Volumes"]) for page in pages] == [7, 7, 6]


def test_boto3_raises_our_errors(port: int) -> None:
    with pytest.raises(ClientError) as refused:
        client(port, "ec2").run_instances(ImageId="ami-unknown", MinCount=1, MaxCount=1)
    assert refused.value.response["Error"]["Code"] == "InvalidAMIID.NotFound"
    with pytest.raises(ClientError) as refused:
        client(port, "ec2", aws_secret_access_key="wrong").describe_volumes()
    assert refused.value.response["Error"]["Code"] == "AuthFailure"


def test_boto3_replays_its_own_client_token_when_it_retries(served: tuple[int, Kitchen]) -> None:
    port, kitchen = served
    ec2 = client(port, "ec2")
    replies = [ec2.run_instances(MinCount=1, MaxCount=1, ClientToken="same") for _ in range(2)]
    assert replies[0]["ReservationId"] == replies[1]["ReservationId"]
    assert len(kitchen.remembered) >= 1


def test_a_browser_and_a_probe_get_a_line_of_text(port: int) -> None:
    assert b"200 OK" in send(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert send(port, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").endswith(b"ok\n")


@pytest.mark.parametrize("length", [MAX_BODY_BYTES + 1, 10**15])
def test_a_huge_body_is_refused_before_it_is_read(port: int, length: int) -> None:
    reply = send(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nabc" % length)
    assert b"413" in reply.splitlines()[0]
    assert b"<Code>RequestEntityTooLarge</Code>" in reply


def test_a_huge_body_without_a_length_is_refused_while_it_is_read(port: int) -> None:
    chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 413 " in send(port, head + chunk * (MAX_BODY_BYTES // 0x10000 + 1)).splitlines()[0]


def test_a_body_that_does_not_come_is_not_waited_for_forever(port: int) -> None:
    reply = send(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    assert b" 408 " in reply.splitlines()[0]


@pytest.mark.parametrize("start", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_does_not_come_is_not_waited_for_forever(
    port: int, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimitedProtocol, "head_timeout_s", 0.3)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        with suppress(ConnectionError):
            connection.sendall(start)
        assert connection.recv(1) == b""


def test_a_request_may_take_longer_than_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "head_timeout_s", 2)
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
    with (
        serving(open_kitchen()[0], body_timeout_s=PATIENCE_S) as port,
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection,
    ):
        connection.sendall(request)
        time.sleep(2.5)
        connection.sendall(b"x")
        assert connection.recv(9) == b"HTTP/1.1 "


@pytest.mark.parametrize("part", [b"X-A: b\r\n", b"a"])
def test_an_endless_head_is_cut_off(port: int, part: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        sent = 0
        with pytest.raises(OSError, match=r"pipe|reset"):
            while sent < 50_000_000:
                sent += connection.send(part * 10_000)
    assert sent < 10_000_000


def test_clients_that_vanish_do_no_harm(port: int) -> None:
    for _ in range(50):
        send(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc", closes=True)
        send(port, b"POST / HT", closes=True)
    assert client(port, "sts").get_caller_identity()["Account"] == "111111111111"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 1000,
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n",
    ],
)
def test_what_is_not_http_gets_no_5xx_and_does_no_harm(port: int, data: bytes) -> None:
    reply = send(port, data)
    assert b" 50" not in reply[:15]
    assert b"ok" in send(port, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("path", [b"/nowhere", b"/../etc/passwd", b"/%00"])
def test_other_paths_are_not_found(port: int, path: bytes) -> None:
    reply = send(port, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" 404 " in reply.splitlines()[0]


def test_other_methods_are_not_found(port: int) -> None:
    reply = send(port, b"DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" 404 " in reply.splitlines()[0]


class Slow:
    """Answers when it may, and keeps what it was asked and what it refused."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked: list[HttpRequest] = []
        self.refused: list[str] = []

    def answer(self, request: HttpRequest) -> Reply:
        self.asked.append(request)
        assert self.may_answer.wait(60)
        return Reply(status=200, body=b"done", request_id="r", content_type="text/plain")

    def refuse(self, error: ApiError, head: HttpRequest) -> Reply:
        self.refused.append(error.code)
        return Reply(status=error.status, body=b"", request_id="r", content_type="text/plain")


@pytest.fixture(name="slow")
def _slow() -> Iterator[tuple[int, Slow]]:
    gateway = Slow()
    with serving(gateway, body_timeout_s=600) as port:
        yield port, gateway
        gateway.may_answer.set()


WHOLE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"


def begin_body(stack: ExitStack, port: int, *, length: int = 100) -> socket.socket:
    """Send the head of a request whose body the server is waiting for from then on."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    connection.sendall(head % length)
    assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
    return connection


def read_status(connection: socket.socket) -> bytes:
    connection.settimeout(PATIENCE_S)
    return connection.recv(1 << 16)[:12]


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(PATIENCE_S)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_who_asks_is_who_is_connected_whatever_the_headers_say(slow: tuple[int, Slow]) -> None:
    port, gateway = slow
    gateway.may_answer.set()
    forged = b"POST / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n" + WHOLE[17:]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(forged)
        assert read_status(connection) == b"HTTP/1.1 200"
    assert [(one.source_ip, one.is_secure) for one in gateway.asked] == [("127.0.0.1", False)]


def test_bodies_that_do_not_come_keep_nobody_from_being_answered(
    slow: tuple[int, Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_MAX_WAITING", 2)
    port, gateway = slow
    gateway.may_answer.set()
    with ExitStack() as stack:
        for _ in range(5):
            begin_body(stack, port)
        last = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        last.sendall(WHOLE)
        assert read_status(last) == b"HTTP/1.1 200"


def test_too_many_requests_that_wait_for_an_answer_are_told_to_come_back(
    slow: tuple[int, Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_MAX_WAITING", 2)
    port, gateway = slow
    with ExitStack() as stack:
        sent = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)]
        for one in sent:
            one.sendall(WHOLE)
        wait_for(lambda: len(gateway.refused) == 1, "the refusal")
        gateway.may_answer.set()
        assert sorted(read_status(one) for one in sent) == [b"HTTP/1.1 200"] * 2 + [b"HTTP/1.1 503"]


def test_of_bodies_that_take_too_much_memory_the_oldest_is_given_up(
    slow: tuple[int, Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_MAX_READ_BYTES", 100_000)
    port, gateway = slow
    gateway.may_answer.set()
    with ExitStack() as stack:
        older, newer = (begin_body(stack, port, length=60_001) for _ in range(2))
        for one in (older, newer):
            one.sendall(bytes(60_000))
        assert read_status(older) == b"HTTP/1.1 408"
        newer.sendall(b"x")
        assert read_status(newer) == b"HTTP/1.1 200"
    assert gateway.refused == ["RequestTimeout"]


def test_a_new_connection_takes_the_place_of_the_one_that_waits_the_longest(
    slow: tuple[int, Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimitedProtocol, "max_connections", 3)
    port, gateway = slow
    with ExitStack() as stack:
        asking = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        asking.sendall(WHOLE)
        wait_for(lambda: len(gateway.asked) == 1, "the request")
        # One waits in its body, the others before their heads.
        waiting = [begin_body(stack, port)]
        waiting += [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(9)]
        assert all(is_closed(one) for one in waiting[:8])
        gateway.may_answer.set()
        waiting[9].sendall(WHOLE)
        # What was read in full is answered however many came after it.
        assert [read_status(one) for one in (asking, waiting[9])] == [b"HTTP/1.1 200"] * 2
