"""What requests are done to, as policies name it; found in the registry, so that a new parameter is covered."""

from bakehouse.api import targets
from tests.framework.naming import NAMINGS, NEW_NAMES

# Parameters that name a resource which is not what the operation is done to.
ONLY_MENTIONED = {
    "IpPermissions",  # groups that a rule refers to
    "SourceSecurityGroupName",
    "SecurityGroupRuleIds",  # the group of the rules is named beside them
    "SecurityGroupRules",
    "SecurityGroupRuleDescriptions",
    "SourceImageId",  # in another region's ARN
    "Attachment",  # of the interface that is named beside it
    "InstanceSpecification",  # the instance is; the volumes that are left out are not
    "IamInstanceProfile",  # iam:PassRole is asked about its role
    "LaunchTemplateData",  # a template may name anything; its launch is checked
}
# Decided by the operation, with the defaults: see launch_authorization.py.
DECIDED_THERE = {"RunInstances"}


def test_every_parameter_that_names_a_resource_is_one_that_policies_can_speak_of() -> None:
    missing = {
        f"{naming.operation} {naming.path}"
        for naming in NAMINGS
        if not naming.operation.startswith(("Describe", "Get"))
        and naming.operation not in DECIDED_THERE
        and (naming.operation, naming.path) not in NEW_NAMES
        and not is_known(naming.operation, naming.path)
    }
    assert not missing


def is_known(operation: str, path: str) -> bool:
    top = path.partition(".")[0].removesuffix("[]")
    if top in ONLY_MENTIONED or path in targets._EC2_NESTED.get(operation, ()):
        return True
    return top in targets._EC2_MEMBERS or top in targets._EC2_NAMES or top == "Resources"
