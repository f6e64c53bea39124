"""What a guest must not reach, tried from a guest's network on a host of the test's own."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.framework.fake_guest import echo_server_argv
from tests.framework.leak_probe import PORT
from tests.framework.netns import HOST_ADDRESS, INTERNET_ADDRESS, fake_host

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Any]]:
    with fake_host() as host, host.serving(echo_server_argv(PORT, "internet"), port=PORT, on_internet=True):
        yield json.loads(host.python("tests.framework.leak_probe"))


def test_the_internet_is_reached_over_tcp_and_udp(found: dict[str, Any]) -> None:
    assert found[INTERNET_ADDRESS] == f"open\ninternet {HOST_ADDRESS} hello"
    assert found[f"udp {INTERNET_ADDRESS}"] == f"internet {HOST_ADDRESS} x"
    assert found["internet again"].startswith("open")


@pytest.mark.parametrize(
    "target",
    [
        *(HOST_ADDRESS, "192.0.2.255", "100.64.0.2", "100.64.0.3", "169.254.1.1", "169.254.169.254"),
        *("127.9.9.9", "172.31.0.1", "172.31.9.9", "198.51.100.1"),
    ],
)
def test_services_of_the_host_and_link_local_addresses_are_closed(found: dict[str, Any], target: str) -> None:
    assert not found[target].startswith("open"), found[target]
    assert found[f"udp {target}"] == "closed"


@pytest.mark.parametrize("target", ["127.0.0.1", "0.0.0.0", "127.201.1.10"])
def test_loopback_addresses_are_the_guests_own(found: dict[str, Any], target: str) -> None:
    assert "host" not in found[target]
    assert "host" not in found[f"udp {target}"]


def test_the_metadata_address_is_ours_and_never_the_clouds(found: dict[str, Any]) -> None:
    assert "internet" not in found["metadata of the host's cloud"]


def test_an_address_the_host_gets_later_is_closed_too(found: dict[str, Any]) -> None:
    assert not found["later"].startswith("open")


def test_a_public_address_wins_over_a_program_that_listens_on_all_addresses(found: dict[str, Any]) -> None:
    assert found["public address"] == "guest 198.51.100.1 x"
    assert found["loopback"] == "the host"


def test_nothing_of_the_hosts_network_is_changed(found: dict[str, Any]) -> None:
    assert found["links"] == ["eth0", "lo"]
    assert found["tables"] == ""
    assert all(address.startswith(("127.201.", "0.0.0.0")) for address in found["listening"])
