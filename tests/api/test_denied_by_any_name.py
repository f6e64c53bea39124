"""A Deny on a resource holds however a request names the resource, or leads to it; generated from the models."""

from collections.abc import Iterator
from typing import Any

import pytest

from bakehouse.api import targets
from bakehouse.api.models import get_operation_model, input_members
from tests.framework.belongings import Belongings
from tests.framework.caller import Caller
from tests.framework.identities import allow, deny, document, new_name, new_user
from tests.framework.naming import NAMINGS, ONLY_MENTIONED, Naming, request_for
from tests.framework.service import Service

# What a kind of name stands for: the resource as policies call it, and what the belongings call that.
STANDS_FOR = {
    "address_association": ("elastic-ip", "elastic_address"),
    "dhcp_options": ("dhcp-options", "dhcp_options"),
    "elastic_address": ("elastic-ip", "elastic_address"),
    "internet_gateway": ("internet-gateway", "internet_gateway"),
    "key_pair": ("key-pair", "key_pair_name"),
    "key_pair_name": ("key-pair", "key_pair_name"),
    "launch_template": ("launch-template", "launch_template"),
    "launch_template_name": ("launch-template", "launch_template"),
    "network_acl": ("network-acl", "network_acl"),
    "network_interface": ("network-interface", "network_interface"),
    "profile_association": ("instance", "instance"),
    "public_ip": ("elastic-ip", "elastic_address"),
    "replace_root_volume_task": ("replace-root-volume-task", "replace_root_volume_task"),
    "route_table": ("route-table", "route_table"),
    "security_group": ("security-group", "security_group"),
    "security_group_name": ("security-group", "security_group"),
    "security_group_rule": ("security-group-rule", "security_group_rule"),
    **{kind: (kind, kind) for kind in ("image", "instance", "snapshot", "subnet", "volume", "vpc")},
}
# Whose right is asked for is their role's: see test_authorization.py.
OF_A_ROLE = {"instance_profile_arn", "instance_profile_name"}
# What the rows lead to from what is named, of another kind: the kind, and which of the belongings it is.
LEADS_TO = {
    "instance": [("network_interface", "network_interface"), ("volume", "attached_volume")],
    "network_interface": [("instance", "instance")],
    "volume": [("instance", "instance")],
}


def is_target(naming: Naming) -> bool:
    is_listing = naming.operation.startswith(targets._EC2_LISTINGS) and not naming.operation.endswith("Attribute")
    top = naming.path.partition(".")[0].removesuffix("[]")
    return not is_listing and top not in ONLY_MENTIONED and naming.kind not in OF_A_ROLE


TARGETS = [naming for naming in NAMINGS if is_target(naming)]


def arn_of(kind: str, belongings: Belongings, *, name: str | None = None) -> str:
    policys_kind, attribute = STANDS_FOR[kind]
    account = "" if policys_kind in ("image", "snapshot") else belongings.account_id
    return f"arn:aws:ec2:us-east-1:{account}:{policys_kind}/{name or getattr(belongings, attribute)}"


def cases(belongings: Belongings) -> Iterator[tuple[str, Naming, dict[str, Any]]]:
    """What is denied, and a request that is done to it."""
    for naming in TARGETS:
        yield arn_of(naming.kind, belongings), naming, request_for(naming, getattr(belongings, naming.kind), belongings)
        attribute = "attached_volume" if naming.kind == "volume" else naming.kind
        request = request_for(naming, getattr(belongings, attribute), belongings)
        for kind, other in LEADS_TO.get(naming.kind, ()):
            if could_name(naming, kind, request):
                yield arn_of(kind, belongings, name=getattr(belongings, other)), naming, request


def could_name(naming: Naming, kind: str, request: dict[str, Any]) -> bool:
    """Whether the operation can name that kind by another parameter, and this request does not."""
    others = [one.path for one in NAMINGS if (one.operation, one.kind) == (naming.operation, kind)]
    return (
        bool(others) and "Resources[]" not in others and not any([*targets.values_at(request, path)] for path in others)
    )


@pytest.mark.programs
def test_a_deny_holds_however_its_resource_is_named_or_left_out(service: Service, belongings: Belongings) -> None:
    name = new_name("user")
    caller = Caller(service, new_user(service, allow("*"), name=name))
    iam = service.client("iam")
    by_arn: dict[str, list[tuple[Naming, dict[str, Any]]]] = {}
    for arn, naming, request in cases(belongings):
        by_arn.setdefault(arn, []).append((naming, request))
    passed = []
    for arn, tried in by_arn.items():
        iam.put_user_policy(UserName=name, PolicyName="no", PolicyDocument=document(deny("ec2:*", resource=arn)))
        for naming, request in tried:
            members = input_members(get_operation_model("ec2", naming.operation))
            dry_run = {"DryRun": True} if "DryRun" in members else {}
            answer = caller.call(naming.operation, {**request, **dry_run})
            if answer.code != "UnauthorizedOperation":
                passed.append(f"{naming}: {answer.code} {answer.message} though {arn} is denied; {request}")
    caller.close()
    assert not passed, "\n".join(passed)


def test_the_names_of_most_kinds_are_tried_and_what_is_led_to(belongings: Belongings) -> None:
    tried = {(naming.operation, arn) for arn, naming, _ in cases(belongings)}
    instance = arn_of("instance", belongings)
    assert {
        ("DetachVolume", instance),
        ("AssociateAddress", instance),
        ("DeleteKeyPair", arn_of("key_pair", belongings)),
    } <= tried
    assert {naming.kind for naming in TARGETS} == set(STANDS_FOR)
