"""Instances with roles: which profile one has, and the credentials its metadata serves, used against the API."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from bakehouse.database.models import KeySession
from bakehouse.database.session import Database
from bakehouse.domain.iam import sessions
from bakehouse.guest.metadata import MetadataServer, Request
from bakehouse.paths import StateDirectory
from bakehouse.workflows.metadata import find_metadata, mint_credentials
from tests.framework.identities import allow, new_profile, new_role, trusting
from tests.framework.service import Keys, Service

IAM = "iam/security-credentials/"


class Guest:
    """An instance's view of its metadata: the server's own code over the service's own rows."""

    def __init__(self, database: Database, instance: dict[str, Any]) -> None:
        self._server = MetadataServer(partial(find_metadata, database), partial(mint_credentials, database))
        self._vpc_id, self._ip = instance["VpcId"], instance["PrivateIpAddress"]

    def ask(self, path: str) -> tuple[int, str]:
        request = Request(
            method="GET",
            path=["latest", "meta-data", *(part for part in path.split("/") if part)],
            ends_in_slash=path.endswith("/"),
            headers={},
            keeps_alive=False,
        )
        reply = self._server.answer(self._vpc_id, self._ip, request)
        return int(reply.status), reply.body.decode()

    def read(self, path: str) -> dict[str, str]:
        status, body = self.ask(path)
        assert status == 200, path
        return dict(json.loads(body))

    def keys(self, account_id: str) -> Keys:
        """The instance's credentials as a client in it would find them."""
        role = self.ask(IAM)[1]
        found = self.read(IAM + role)
        assert (found["Code"], found["Type"]) == ("Success", "AWS-HMAC")
        return Keys(
            account_id=account_id,
            access_key_id=found["AccessKeyId"],
            secret_access_key=found["SecretAccessKey"],
            session_token=found["Token"],
        )


@pytest.fixture(scope="module")
def database(service: Service) -> Iterator[Database]:
    """The service's own rows."""
    opened = Database(f"sqlite:///{StateDirectory(root=service.state_root).database}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def role_arn(service: Service) -> str:
    """A role for instances, which may look at instances and nothing else."""
    return new_role(service, trusting("ec2.amazonaws.com"), allow("ec2:DescribeInstances"))


@pytest.fixture(scope="module")
def profile(service: Service, role_arn: str) -> str:
    """A profile with the role."""
    return new_profile(service, role_arn)


def launch(ec2: Any, image_id: str, **more: Any) -> dict[str, Any]:
    reply = ec2.run_instances(ImageId=image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1, **more)
    found: dict[str, Any] = reply["Instances"][0]
    return found


def refused(call: Any, **parameters: Any) -> tuple[str, str]:
    """The code and message a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return str(error["Code"]), str(error["Message"])


@pytest.mark.programs
def test_a_program_in_an_instance_acts_as_its_role(
    service: Service, database: Database, ec2: Any, image_id: str, profile: str, role_arn: str
) -> None:
    account = service.administrator.account_id
    instance = launch(ec2, image_id, IamInstanceProfile={"Name": profile})
    instance_id, role = instance["InstanceId"], role_arn.rpartition("/")[2]
    arn = f"arn:aws:iam::{account}:instance-profile/{profile}"
    assert instance["IamInstanceProfile"]["Arn"] == arn
    described = ec2.describe_instances(Filters=[{"Name": "iam-instance-profile.arn", "Values": [arn]}])
    found = described["Reservations"][0]["Instances"]
    assert [one["IamInstanceProfile"] for one in found] == [instance["IamInstanceProfile"]]

    guest = Guest(database, instance)
    info = guest.read("iam/info")
    assert (info["Code"], info["InstanceProfileArn"]) == ("Success", arn)
    assert info["InstanceProfileId"] == instance["IamInstanceProfile"]["Id"]
    assert guest.ask(IAM) == (200, role)
    keys = guest.keys(account)
    assert guest.keys(account) == keys
    who = service.client("sts", keys).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{account}:assumed-role/{role}/{instance_id}"
    assert who["UserId"].endswith(f":{instance_id}")
    own = service.client("ec2", keys)
    assert own.describe_instances(InstanceIds=[instance_id])["Reservations"]
    assert refused(own.describe_volumes)[0] == "UnauthorizedOperation"
    assert refused(own.terminate_instances, InstanceIds=[instance_id])[0] == "UnauthorizedOperation"
    ec2.terminate_instances(InstanceIds=[instance_id])


@pytest.mark.programs
def test_profiles_come_change_and_go_and_old_credentials_live_until_they_expire(
    service: Service, database: Database, ec2: Any, image_id: str, profile: str
) -> None:
    account, other = (
        service.administrator.account_id,
        new_profile(service, new_role(service, trusting("ec2.amazonaws.com"))),
    )
    instance = launch(ec2, image_id, IamInstanceProfile={"Name": "", "Arn": ""})
    instance_id = instance["InstanceId"]
    assert "IamInstanceProfile" not in instance
    guest = Guest(database, instance)
    assert guest.ask("iam/info")[0] == 404
    made = ec2.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile={"Name": profile})
    first = made["IamInstanceProfileAssociation"]
    assert first["State"] == "associating"
    again = {"InstanceId": instance_id, "IamInstanceProfile": {"Name": other}}
    assert refused(ec2.associate_iam_instance_profile, **again)[0] == "IncorrectState"
    keys = guest.keys(account)
    wanted = [{"Name": "instance-id", "Values": [instance_id]}]
    listed = ec2.describe_iam_instance_profile_associations(Filters=wanted)["IamInstanceProfileAssociations"]
    assert [(one["AssociationId"], one["State"]) for one in listed] == [(first["AssociationId"], "associated")]
    changed = ec2.replace_iam_instance_profile_association(
        AssociationId=first["AssociationId"], IamInstanceProfile={"Name": other}
    )["IamInstanceProfileAssociation"]
    assert changed["AssociationId"] != first["AssociationId"]
    assert guest.keys(account).access_key_id != keys.access_key_id
    gone = {"AssociationId": first["AssociationId"]}
    assert refused(ec2.disassociate_iam_instance_profile, **gone)[0] == "InvalidAssociationID.NotFound"
    ended = ec2.disassociate_iam_instance_profile(AssociationId=changed["AssociationId"])
    assert ended["IamInstanceProfileAssociation"]["State"] == "disassociating"
    for path in ("iam", "iam/info", IAM):
        assert guest.ask(path)[0] == 404
    assert ec2.describe_iam_instance_profile_associations(Filters=wanted)["IamInstanceProfileAssociations"] == []
    service.client("sts", keys).get_caller_identity()
    age(database, keys, timedelta(hours=7))
    assert refused(service.client("sts", keys).get_caller_identity)[0] == "ExpiredToken"
    assert refused(service.client("ssm", keys).describe_parameters)[0] == "ExpiredTokenException"
    assert refused(service.client("ec2", keys).describe_instances)[0] == "RequestExpired"
    ec2.terminate_instances(InstanceIds=[instance_id])


@pytest.mark.programs
def test_credentials_are_changed_long_before_they_expire(
    service: Service, database: Database, ec2: Any, image_id: str, profile: str
) -> None:
    account = service.administrator.account_id
    instance = launch(ec2, image_id, IamInstanceProfile={"Name": profile})
    guest = Guest(database, instance)
    guest.ask("iam/info")
    with database.transaction(mutates=False) as session:
        of_instance = sa.select(KeySession).where(KeySession.instance_id == instance["InstanceId"])
        assert session.scalars(of_instance).all() == []  # made when somebody asks for them, and not before
    old = guest.keys(account)
    age(database, old, timedelta(hours=2))
    new = guest.keys(account)
    assert new.access_key_id != old.access_key_id
    for keys in (old, new):
        service.client("sts", keys).get_caller_identity()
    with database.transaction() as session:
        left = session.get_one(KeySession, new.access_key_id).expires_at - datetime.now().astimezone()
    assert timedelta(hours=5) < left <= timedelta(hours=6)
    age(database, old, timedelta(days=2))
    with database.transaction() as session:
        sessions.forget_expired(session)
    assert refused(service.client("sts", old).get_caller_identity)[0] == "InvalidClientTokenId"
    service.client("sts", new).get_caller_identity()
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])


def age(database: Database, keys: Keys, by: timedelta) -> None:
    """Let a key have been made earlier."""
    with database.transaction() as session:
        row = session.get_one(KeySession, keys.access_key_id)
        row.created_at, row.expires_at = row.created_at - by, row.expires_at - by


@pytest.mark.programs
def test_a_role_that_does_not_trust_ec2_and_a_profile_without_a_role_give_no_keys(
    service: Service, database: Database, ec2: Any, image_id: str
) -> None:
    iam = service.client("iam")
    role = new_role(service, trusting(service.administrator.account_id)).rpartition("/")[2]
    profile = new_profile(service, f"x/{role}")
    instance = launch(ec2, image_id, IamInstanceProfile={"Name": profile})
    guest = Guest(database, instance)
    assert guest.read(IAM + role)["Code"] == "AssumeRoleUnauthorizedAccess"
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=trusting("ec2.amazonaws.com"))
    keys = guest.keys(service.administrator.account_id)
    service.client("sts", keys).get_caller_identity()
    iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=role)
    assert guest.read("iam/info")["Code"] == "InstanceProfileNotFound"
    assert guest.ask(IAM + role)[0] == 404
    empty = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1, "IamInstanceProfile": {"Name": profile}}
    code, message = refused(ec2.run_instances, **empty)
    assert code == "InvalidParameterValue"
    assert message.endswith("has no associated IAM Roles")
    iam.delete_role(RoleName=role)
    assert refused(service.client("sts", keys).get_caller_identity)[0] == "InvalidClientTokenId"
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Name": "nobodys-profile"}, "Invalid IAM Instance Profile name"),
        ({"Arn": "arn:aws:iam::111122223333:instance-profile/x"}, "Invalid IAM Instance Profile ARN"),
        ({"Arn": "nonsense"}, "Invalid IAM Instance Profile ARN"),
    ],
)
def test_a_profile_that_is_not_there_is_told_in_ec2s_words(
    ec2: Any, image_id: str, given: dict[str, str], words: str
) -> None:
    code, message = refused(ec2.run_instances, ImageId=image_id, MinCount=1, MaxCount=1, IamInstanceProfile=given)
    assert code == "InvalidParameterValue"
    assert words in message


def test_anothers_profile_is_not_there(
    service: Service, other_keys: Keys, image_id: str, profile: str, database: Database
) -> None:
    theirs = service.client("ec2", other_keys)
    arn = f"arn:aws:iam::{service.administrator.account_id}:instance-profile/{profile}"
    for given in ({"Name": profile}, {"Arn": arn}):
        code, _ = refused(theirs.run_instances, ImageId=image_id, MinCount=1, MaxCount=1, IamInstanceProfile=given)
        assert code == "InvalidParameterValue"
