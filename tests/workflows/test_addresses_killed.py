"""Elastic addresses, with the service killed as a running machine's public address changes."""

import socket
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from bakehouse.database.models import RestingAddress
from bakehouse.database.session import Database
from bakehouse.durable.engine import Moment
from tests.framework.mortal_service import KillPoint, MortalService
from tests.framework.settling import wait_until_settled
from tests.workflows.household import assert_running, assert_true, describe, kill_points, launch, terminate

pytestmark = pytest.mark.programs
PORT = 8080


@pytest.fixture(scope="module")
def instance_id(mortal: MortalService, image_id: str) -> Iterator[str]:
    """An instance one of whose ports is open."""
    group_id = mortal.ec2.create_security_group(GroupName="addresses", Description="d")["GroupId"]
    mortal.ec2.authorize_security_group_ingress(
        GroupId=group_id, IpProtocol="tcp", FromPort=PORT, ToPort=PORT, CidrIp="0.0.0.0/0"
    )
    instance_id = launch(mortal, image_id, SecurityGroupIds=[group_id])
    wait_until_settled(mortal.settings)
    yield instance_id
    terminate(mortal, instance_id)


def listens(public_ip: str) -> bool:
    """Whether the address leads to the guest's port."""
    try:
        socket.create_connection((public_ip, PORT), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def resting(mortal: MortalService) -> list[str]:
    """The addresses nobody is given yet."""
    database = Database(f"sqlite:///{mortal.settings.state.database}")
    with database.transaction(mutates=False) as session:
        found = list(session.scalars(sa.select(RestingAddress.public_ip)))
    database.close()
    return found


@pytest.mark.parametrize("point", kill_points("apply_firewall", "render_firewall", moments=Moment), ids=str)
def test_a_change_of_addresses_killed_there_is_made_all_the_same(
    mortal: MortalService, instance_id: str, point: KillPoint
) -> None:
    automatic = describe(mortal, instance_id)["PublicIpAddress"]
    address = mortal.ec2.allocate_address()
    with mortal.killed_at(point):
        made = mortal.ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=instance_id)
    assert describe(mortal, instance_id)["PublicIpAddress"] == address["PublicIp"]
    assert (listens(address["PublicIp"]), listens(automatic)) == (True, False)
    with mortal.killed_at(point):
        mortal.ec2.disassociate_address(AssociationId=made["AssociationId"])
    again = describe(mortal, instance_id)["PublicIpAddress"]
    assert (listens(again), listens(address["PublicIp"])) == (True, False)
    assert resting(mortal) == []
    mortal.ec2.release_address(AllocationId=address["AllocationId"])
    assert_running(mortal, instance_id)
    assert_true(mortal)
