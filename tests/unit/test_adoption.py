"""What is done for running instances at start and every few minutes: what failed once is tried again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bakehouse.domain.instances import State
from bakehouse.workflows.reconcile import adopt_running
from tests.framework.paper_host import PaperHost, paper_host


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Iterator[PaperHost]:
    with paper_host(tmp_path) as host:
        yield host


def interface_of(host: PaperHost, instance_id: str) -> str:
    interface = host.instance(instance_id).interface
    assert interface is not None
    return interface.interface_id


def test_a_network_that_could_not_be_brought_up_and_a_machine_that_did_not_answer_are_tried_again(
    host: PaperHost,
) -> None:
    instance_ids = [host.launch(), host.launch()]
    host.paper.do_not_answer = host.paper_networks.fails = True
    adopt_running(host)
    assert (host.paper.watched, host.paper_networks.up) == ([], {})
    host.paper.do_not_answer = host.paper_networks.fails = False
    adopt_running(host)
    assert sorted(host.paper.watched) == sorted(instance_ids)
    (network,) = host.paper_networks.up.values()
    assert network.restored == [sorted(interface_of(host, one) for one in instance_ids)]


def test_rules_of_a_network_that_is_up_are_applied_again_whatever_became_of_their_workflow(host: PaperHost) -> None:
    instance_id = host.launch()
    adopt_running(host)
    (network,) = host.paper_networks.up.values()
    network.fails = True
    adopt_running(host)
    network.fails = False
    adopt_running(host)
    assert network.restored == [[interface_of(host, instance_id)]] * 2


def test_a_machine_that_ended_unseen_is_noted_and_gets_no_network(host: PaperHost) -> None:
    instance_id = host.launch()
    host.paper.kill(instance_id)
    adopt_running(host)
    assert host.enqueued == [("machine_exited", instance_id)]
    assert host.paper_networks.up == {}


@pytest.mark.parametrize("state", [State.PENDING, State.STOPPING, State.STOPPED, State.SHUTTING_DOWN])
def test_an_instance_that_is_started_or_ended_is_left_to_its_workflow(host: PaperHost, state: State) -> None:
    host.launch(state)
    adopt_running(host)
    assert (host.enqueued, host.paper.watched, host.paper_networks.up) == ([], [], {})
