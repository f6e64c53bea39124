"""A service that is killed while it holds a guest's file systems frozen."""

import signal

import pytest

from bakehouse.guest.agent import Condition, GuestAgent
from bakehouse.host.loop import HostLoop
from bakehouse.paths import StateDirectory
from tests.framework.guests import Guest
from tests.framework.patience import wait_for
from tests.framework.service import Service

pytestmark = [pytest.mark.machine, pytest.mark.programs, pytest.mark.timeout(1500)]


def test_a_guest_left_frozen_is_thawed_and_its_image_is_made(machine_service: Service, webserver: Guest) -> None:
    is_up = "systemctl is-active qemu-guest-agent || true"
    wait_for(lambda: webserver.ssh(is_up).strip() == "active", "its agent", timeout_s=600, pause_s=1)
    machine_service.end()
    machine_service.start(module=("-m", "tests.framework.service_killed_frozen"))
    image_id = machine_service.client().create_image(
        InstanceId=webserver.instance_id, Name="frozen at the kill", NoReboot=True
    )["ImageId"]
    assert machine_service.process.wait(timeout=300) == -signal.SIGKILL
    assert _condition(machine_service, webserver) is Condition.FROZEN
    machine_service.start()
    machine_service.client().get_waiter("image_available").wait(
        ImageIds=[image_id], WaiterConfig={"Delay": 1, "MaxAttempts": 600}
    )
    wait_for(lambda: _condition(machine_service, webserver) is Condition.THAWED, "it is thawed")
    webserver.ssh("echo thawed > ~/thawed && sync")


def _condition(service: Service, guest: Guest) -> Condition:
    loop = HostLoop()
    try:
        socket = StateDirectory(root=service.state_root).instance(guest.instance_id).guest_agent_socket
        return GuestAgent(loop, socket, peer_uid=None).condition(timeout_s=60)
    finally:
        loop.close()
