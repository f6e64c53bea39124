"""Users, roles and sessions of a test's own, by the policies they have."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tests.framework.service import Keys, Service

Statement = Mapping[str, Any]


def allow(*actions: str, resource: str | Sequence[str] = "*", **more: Any) -> Statement:
    """A statement that allows."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def deny(*actions: str, resource: str | Sequence[str] = "*", **more: Any) -> Statement:
    """A statement that denies."""
    return {"Effect": "Deny", "Action": list(actions), "Resource": resource, **more}


def document(*statements: Statement) -> str:
    """A policy document of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def trusting(*principals: str, **more: Any) -> str:
    """A trust policy for accounts, users, roles, or a service by its name."""
    kinds = [("Service" if "amazonaws" in one else "AWS", one) for one in principals]
    return document(
        *({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {kind: one}, **more} for kind, one in kinds)
    )


def new_name(kind: str) -> str:
    """A name nobody has."""
    return f"{kind}-{os.urandom(4).hex()}"


def new_user(service: Service, *statements: Statement, owner: Keys | None = None, name: str | None = None) -> Keys:
    """Make a user who may what the statements say, and a key for it."""
    owner, name = owner or service.administrator, name or new_name("user")
    iam = service.client("iam", owner)
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=document(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Keys(
        account_id=owner.account_id,
        access_key_id=key["AccessKeyId"],
        secret_access_key=key["SecretAccessKey"],
    )


def new_role(service: Service, trust: str, *statements: Statement, owner: Keys | None = None) -> str:
    """Make a role that may what the statements say; its ARN."""
    iam, name = service.client("iam", owner), new_name("role")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=document(*statements))
    return str(arn)


def new_profile(service: Service, role_arn: str, owner: Keys | None = None) -> str:
    """Make an instance profile that hands out a role; its name."""
    iam, name = service.client("iam", owner), new_name("profile")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role_arn.rpartition("/")[2])
    return name


def session_keys(account_id: str, credentials: Mapping[str, Any]) -> Keys:
    """The keys in an answer of STS."""
    return Keys(
        account_id=account_id,
        access_key_id=credentials["AccessKeyId"],
        secret_access_key=credentials["SecretAccessKey"],
        session_token=credentials["SessionToken"],
    )


def assume(service: Service, keys: Keys, role_arn: str, **more: Any) -> Keys:
    """Act as a role."""
    sts = service.client("sts", keys)
    made = sts.assume_role(RoleArn=role_arn, RoleSessionName="test", **more)
    return session_keys(role_arn.split(":")[4], made["Credentials"])
