"""The whole service under requests that nobody should send: it answers, forgets nothing, and mixes up nobody.

``BAKEHOUSE_FUZZ_REQUESTS`` and ``BAKEHOUSE_FUZZ_SEED`` make the long runs; what is here is for every day.
"""

import errno
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bakehouse.api.models import get_operation_model
from bakehouse.api.registry import discover
from tests.framework.belongings import Belongings, acquire, lasting
from tests.framework.caller import Answer, Caller
from tests.framework.fuzz import Attempt, Fuzzer
from tests.framework.patience import WAITS
from tests.framework.service import Service

pytestmark = pytest.mark.programs
OPERATIONS = list(discover())
REQUESTS = int(os.environ.get("BAKEHOUSE_FUZZ_REQUESTS", "10000"))
# At the same time, each an account of its own.
ATTACKERS = 2
SEED = int(os.environ.get("BAKEHOUSE_FUZZ_SEED", "1"))
# Caches of what was compiled for each operation, the allocator's reserves; a leak of one body would be more.
MAX_GROWTH_MIB = 96
# These would fill the host with guests, or take the one away that the others are tried on.
RARELY = {"RunInstances", "StartInstances", "TerminateInstances", "CreateImage"}
# What others made public is shown to everybody; one's own is what may not change.
OWN = {"DescribeImages": {"Owners": ["self"]}, "DescribeSnapshots": {"OwnerIds": ["self"]}}


def resident_mib(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) >> 10


def everything(caller: Caller) -> dict[str, Any]:
    """What an account is shown of its own: every listing that needs no parameter, without what passes by itself."""
    shown: dict[str, Any] = {}
    for each in OPERATIONS:
        required = getattr(get_operation_model(each.service, each.name).input_shape, "required_members", [])
        if each.name.startswith(("Describe", "List")) and not required:
            answer = caller.call(each.name, OWN.get(each.name), service=each.service)
            if answer.status == 200:  # else it needs one of several parameters
                shown[f"{each.service} {each.name}"] = {**lasting(answer.parsed), "ResponseMetadata": None}
    assert len(shown) > 40
    return shown


class Attacker:
    """An account that sends its share of the requests and keeps what should not have happened."""

    def __init__(self, service: Service, victim: Belongings, image_id: str, seed: int) -> None:
        keys = service.new_account()
        self._caller, self._seed = Caller(service, keys), seed
        own = acquire(service, keys, image_id)
        self.succeeded = 0
        self._fuzzer = Fuzzer(OPERATIONS, own=own, foreign=victim, seed=seed)
        # Names are free in every account, so that the attacker may have taken the same.
        self._words = [word.encode() for word in victim.words() if word != victim.key_pair_name]

    def attack(self, count: int) -> list[str]:
        """Send ``count`` requests; what was wrong with the answers."""
        wrong = []
        for number, attempt in enumerate(self._fuzzer.attempts(count)):
            answer = self._send(attempt, number)
            self.succeeded += answer.status == 200
            told = [word for word in self._words if word in answer.body and word.decode() not in attempt.sent]
            if answer.status >= 500 or told:
                wrong.append(f"seed {self._seed}, {number}, {attempt}: {answer.status} {answer.code} {told}"[:3000])
        self._caller.close()
        return wrong

    def _send(self, attempt: Attempt, number: int) -> Answer:
        service, name = attempt.operation.service, attempt.operation.name
        if attempt.request is not None:
            return self._caller.call_request(attempt.request, name, service=service)
        pairs = attempt.pairs or {}
        if name in RARELY and number % 10:
            pairs["DryRun"] = "true"
        if name == "RunInstances":
            pairs["MaxCount"] = pairs["MinCount"] = "1"
        return self._caller.send(pairs, service=service)


def test_no_request_breaks_the_service_or_crosses_accounts(
    service: Service, administrator: Caller, belongings: Belongings, image_id: str
) -> None:
    attackers = [Attacker(service, belongings, image_id, SEED + number) for number in range(ATTACKERS)]
    before, resident = everything(administrator), resident_mib(service.process.pid)
    with ThreadPoolExecutor(ATTACKERS) as pool:
        wrong = [each for found in pool.map(lambda one: one.attack(REQUESTS // ATTACKERS), attackers) for each in found]
    assert not wrong, "\n".join(wrong)
    # Otherwise what is tried here is the signature.
    assert sum(one.succeeded for one in attackers) > REQUESTS / 20
    growth = resident_mib(service.process.pid) - resident
    print(f"{REQUESTS} requests: {growth} MiB more than {resident} MiB")
    assert growth < MAX_GROWTH_MIB
    assert everything(administrator) == before
    assert_still_launches(service, image_id)


def assert_still_launches(service: Service, image_id: str) -> None:
    ec2 = service.client()
    run = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    instance_id = ec2.run_instances(**run)["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)


FORM = b"Action=DescribeVolumes&Version=2016-11-15&"
FORMS = {
    "an index beyond all": FORM + b"Filter.999999999.Name=status&Filter.999999999.Value.1=x",
    "an index that is none": FORM + b"Filter.-1.Name=status",
    "a NUL": FORM + b"VolumeId.1=vol%00",
    "a NUL in a name": FORM + b"Volume%00Id.1=x",
    "bytes that are no UTF-8": FORM + b"VolumeId.1=%ff%fe",
    "raw bytes that are no UTF-8": FORM + b"VolumeId.1=\xff\xfe",
    "half an escape": FORM + b"VolumeId.1=%f",
    "a lone surrogate": FORM + b"VolumeId.1=%ed%a0%80",
    "the same twice": FORM + b"VolumeId.1=a&VolumeId.1=b",
    "a value and members": FORM + b"Filter.1=x&Filter.1.Name=status",
    "too many": FORM + b"&".join(b"VolumeId.%d=vol-12345678" % number for number in range(10_001)),
    "a deep name": FORM + b"a." * 5_000 + b"a=1",
    "nothing but separators": FORM + b"&" * 50_000,
    "a long value": FORM + b"VolumeId.1=" + b"v" * 900_000,
    "another version": b"Action=DescribeVolumes&Version=1999-01-01",
    "no action": b"Version=2016-11-15",
    "an action of another service": b"Action=CreateBucket&Version=2016-11-15",
    "an unsupported action": b"Action=CreateFleet&Version=2016-11-15",
    "xml": b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
    "json": b'{"Action": "DescribeVolumes"}',
    "nothing": b"",
}
ACCEPTED = {"nothing but separators", "another version"}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_makes_no_sense_is_refused_even_when_well_signed(other: Caller, name: str) -> None:
    answer = other.send_form(FORMS[name], "DescribeVolumes")
    assert answer.status == 200 if name in ACCEPTED else 400 <= answer.status < 500, answer.body


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
STREAMS = {
    "a length that is none": HEAD + b"Content-Length: abc\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk that is none": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a huge body": HEAD + b"Content-Length: 99999999999\r\n\r\n",
    "huge headers": HEAD + b"X-Pad: " + b"x" * 400_000 + b"\r\n\r\n",
    "many headers": HEAD + b"X-Pad: x\r\n" * 40_000 + b"\r\n",
    "a NUL in a header": HEAD + b"X-Pad: \x00\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "noise": bytes(range(256)) * 8,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_is_no_request_ends_without_a_5xx(service: Service, other: Caller, name: str) -> None:
    received = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        try:
            connection.sendall(STREAMS[name])
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                received += chunk
        except OSError as ended:  # the service hung up first; the kernel tells in one of these ways
            assert ended.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN), ended
    assert not received or re.match(rb"HTTP/1\.1 4\d\d ", received), received[:200]
    assert other.call("DescribeRegions").status == 200
