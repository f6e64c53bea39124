"""Which instances may start, and what they are reckoned with."""

from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from bakehouse.database.models import Instance
from bakehouse.domain import instances, lifecycle
from bakehouse.domain.instances import State
from bakehouse.errors import ApiError
from bakehouse.host.memory import TRANSLATION_BUFFER_MIB, machine_overhead_mib
from tests.framework.paper_host import PaperHost, paper_host

_PUBLIC = IPv4Network("127.99.0.0/24")
_NANO_MIB = 512


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Iterator[PaperHost]:
    with paper_host(tmp_path) as host:
        yield host


def start(host: PaperHost, *instance_ids: str, memory_mib: int = 1 << 20) -> None:
    overhead_mib = host.machine_overhead_mib
    with host.database.transaction(region="us-east-1") as session:
        rows = [instances.get_any(session, instance_id) for instance_id in instance_ids]
        lifecycle.start(session, rows, memory_mib=memory_mib, overhead_mib=overhead_mib, public_network=_PUBLIC)


def test_nothing_starts_without_its_root(host: PaperHost) -> None:
    detaching, detached, whole = (host.launch(State.STOPPED) for _ in range(3))

    def take_off(row: Instance) -> None:
        instances.detach(row.volumes[0])

    host.change(detaching, lambda row: setattr(row.volumes[0], "attachment_state", "detaching"))
    host.change(detached, take_off)
    for rootless in (detaching, detached):
        with pytest.raises(ApiError, match=r"InvalidParameterValue.*does not have a volume attached at root"):
            start(host, whole, rootless)
        assert host.instance(whole).state == State.STOPPED, "a refused call changes nothing"
    start(host, whole)
    assert host.instance(whole).state == State.PENDING


def test_an_emulated_machine_is_reckoned_with_all_of_its_translated_code(host: PaperHost) -> None:
    running, stopped = host.launch(), host.launch(State.STOPPED)
    needed_mib = 2 * (_NANO_MIB + TRANSLATION_BUFFER_MIB + machine_overhead_mib(is_emulated=False))
    with pytest.raises(ApiError, match="InsufficientInstanceCapacity"):
        start(host, stopped, memory_mib=needed_mib - 1)
    start(host, stopped, running, memory_mib=needed_mib)
