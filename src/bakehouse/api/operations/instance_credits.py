"""CPU credits of burstable types: no machine here is throttled, so the standard option is all there is."""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.domain import instances
from bakehouse.errors import ApiError

_STANDARD, _UNLIMITED = "standard", "unlimited"


@operation(
    "ec2",
    "DescribeInstanceCreditSpecifications",
    mutates=False,
    honours=("InstanceIds",),
    filters=FilterTable(item="InstanceCreditSpecifications[]", paths={"instance-id": "InstanceId"}),
    paged=Paged(result="InstanceCreditSpecifications", minimum=5, maximum=1000, ids=("InstanceIds",), key="InstanceId"),
)
def describe_instance_credit_specifications(context: RequestContext, request: Parameters) -> Reply:
    """The option of the instances that are named; without ids those that are unlimited, as in EC2: none."""
    named = request.get("InstanceIds", ())
    found = instances.visible(context.session, context.account_id, named) if named else []
    return {"InstanceCreditSpecifications": [{"CpuCredits": _STANDARD, "InstanceId": one.instance_id} for one in found]}


@operation(
    "ec2",
    "ModifyInstanceCreditSpecification",
    mutates=True,
    honours=("InstanceCreditSpecifications[].CpuCredits", "InstanceCreditSpecifications[].InstanceId"),
)
def modify_instance_credit_specification(context: RequestContext, request: Parameters) -> Reply:
    """Tell for each instance whether it has the option now, which it has if it is the standard one."""
    successful, unsuccessful = [], []
    for one in request["InstanceCreditSpecifications"]:
        error = _refusal(context, one)
        if error is None:
            successful.append({"InstanceId": one["InstanceId"]})
        else:
            said = {"Code": error.code, "Message": error.message}
            unsuccessful.append({"Error": said, "InstanceId": one["InstanceId"]})
    return {
        "SuccessfulInstanceCreditSpecifications": successful,
        "UnsuccessfulInstanceCreditSpecifications": unsuccessful,
    }


def _refusal(context: RequestContext, wanted: dict[str, Any]) -> ApiError | None:
    option = wanted.get("CpuCredits", _STANDARD)
    if option not in (_STANDARD, _UNLIMITED):
        raise errors.invalid_value_for("CpuCredits", option[:64], f"It is {_STANDARD} or {_UNLIMITED}.")
    try:
        instances.get(context.session, context.account_id, wanted["InstanceId"])
    except ApiError as error:
        return error
    if option == _UNLIMITED:
        return ApiError(
            "InstanceCreditSpecification.NotSupported", "CPU credits are not counted here: there is nothing to exceed."
        )
    return None
