"""Every filter that EC2 documents for an operation is answered, or is named here with the reason why not."""

import pytest

from bakehouse.api.models import get_operation_model
from bakehouse.api.registry import Operation, discover
from tests.framework.compatibility import documented_filters

_NO_BANDWIDTH = "no bandwidth is promised, and none is stated"
_IN_INTERFACES_ONLY = "EC2 states it of interfaces only; DescribeNetworkInterfaces answers it"
_BY_ID = "what refers to a group names it by its id, as EC2 does in a VPC"
REFUSED: dict[str, dict[str, str]] = {
    "DescribeImages": {"public-ssm-parameter-name": "an image here may have several, and none is stated"},
    "DescribeInstanceTypes": {
        f"ebs-info.ebs-optimized-info.{bound}-{figure}": _NO_BANDWIDTH
        for bound in ("baseline", "maximum")
        for figure in ("bandwidth-in-mbps", "iops", "throughput-in-mbps")
    },
    "DescribeInstances": {
        "network-interface.addresses.association.allocation-id": _IN_INTERFACES_ONLY,
        "network-interface.addresses.association.association-id": _IN_INTERFACES_ONLY,
        "network-interface.association.allocation-id": _IN_INTERFACES_ONLY,
        "network-interface.association.association-id": _IN_INTERFACES_ONLY,
        "network-interface.tag-key": _IN_INTERFACES_ONLY,
        "network-interface.tag-value": _IN_INTERFACES_ONLY,
    },
    "DescribeSecurityGroups": {"egress.ip-permission.group-name": _BY_ID, "ip-permission.group-name": _BY_ID},
}


DOCUMENTED = {
    each.name: documented_filters(get_operation_model("ec2", each.name).input_shape)
    for each in discover()
    if each.service == "ec2"
}
FILTERED = [pytest.param(each, id=each.name) for each in discover() if DOCUMENTED.get(each.name)]


@pytest.mark.parametrize("operation", FILTERED)
def test_every_documented_filter_is_answered_or_named_as_refused(operation: Operation) -> None:
    assert operation.filters is not None
    answered = {*operation.filters.paths, *operation.filters.outer}
    if operation.filters.tags is not None:
        answered |= {"tag", "tag-key", "tag-value"}
    refused = DOCUMENTED[operation.name] - answered
    assert refused == set(REFUSED.get(operation.name, ()))


def test_the_documentation_is_read() -> None:
    assert DOCUMENTED["DescribeTags"] == {"key", "resource-id", "resource-type", "tag", "value"}
    assert len(DOCUMENTED["DescribeInstances"]) > 100
    assert set(REFUSED) <= set(DOCUMENTED)
