"""Systems Manager's parameters over the wire, by boto3."""

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from tests.api.conftest import unique
from tests.framework.belongings import Belongings
from tests.framework.caller import Caller
from tests.framework.calm_guest import write_disk
from tests.framework.identities import allow, deny, new_user
from tests.framework.service import Keys, Service
from tests.framework.tiny_service import OTHER_REGION

LATEST = "/aws/service/debian/release/13/latest/amd64"
NEWEST = "/aws/service/bakehouse/base/latest"


@pytest.fixture
def ssm(service: Service) -> Any:
    return service.client("ssm")


@pytest.fixture
def path() -> str:
    return "/" + unique("path")


@pytest.fixture(scope="module")
def base_image_ids(service: Service) -> list[str]:
    """What a build of the base image leaves: images of amazon with Debian's names."""
    with tempfile.TemporaryDirectory() as directory:
        disk = Path(directory) / "calm.raw"
        write_disk(disk)
        names = ("debian-13-amd64-20260101", "debian-12-amd64-20260102")
        return [service.run_cli("image", "import", str(disk), "--name", name).split()[-1] for name in names]


def code_of(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return str(refused.value.response["Error"]["Code"])


def put(ssm: Any, name: str, value: str = "v", **more: Any) -> int:
    return int(ssm.put_parameter(**{"Name": name, "Value": value, "Type": "String", **more})["Version"])


def test_a_parameter_has_versions_labels_and_a_history(ssm: Any, path: str) -> None:
    name = f"{path}/a"
    assert put(ssm, name, "one", Description="d") == 1
    assert code_of(ssm.put_parameter, Name=name, Value="two", Type="String") == "ParameterAlreadyExists"
    assert put(ssm, name, "two", Overwrite=True) == 2
    assert ssm.label_parameter_version(Name=name, ParameterVersion=1, Labels=["prod", "1st"]) | {
        "ResponseMetadata": None
    } == {"InvalidLabels": ["1st"], "ParameterVersion": 1, "ResponseMetadata": None}
    wanted = {"": "two", ":1": "one", ":2": "two", ":prod": "one"}
    for selector, value in wanted.items():
        found = ssm.get_parameter(Name=name + selector)["Parameter"]
        assert (found["Value"], found.get("Selector", "")) == (value, selector)
    assert found["ARN"].endswith(f":parameter{name}")
    assert ssm.get_parameter(Name=found["ARN"])["Parameter"]["Value"] == "two"
    assert code_of(ssm.get_parameter, Name=f"{name}:3") == "ParameterVersionNotFound"
    assert code_of(ssm.get_parameter, Name=f"{name}:none") == "ParameterVersionNotFound"
    history = ssm.get_parameter_history(Name=name)["Parameters"]
    assert [(one["Version"], one["Value"], one["Labels"], one["Description"]) for one in history] == [
        (1, "one", ["prod"], "d"),
        (2, "two", [], "d"),
    ]
    ssm.label_parameter_version(Name=name, Labels=["prod"])
    assert ssm.get_parameter(Name=f"{name}:prod")["Parameter"]["Value"] == "two"
    assert ssm.unlabel_parameter_version(Name=name, ParameterVersion=2, Labels=["prod", "x"])["RemovedLabels"] == [
        "prod"
    ]
    assert code_of(ssm.get_parameter, Name=f"{name}:prod") == "ParameterVersionNotFound"
    ssm.delete_parameter(Name=name)
    assert code_of(ssm.get_parameter, Name=name) == "ParameterNotFound"
    assert code_of(ssm.delete_parameter, Name=name) == "ParameterNotFound"


def test_several_are_read_and_deleted_at_once(ssm: Any, path: str) -> None:
    put(ssm, f"{path}/a", "1,2", Type="StringList")
    put(ssm, f"{path}/b")
    names = [f"{path}/a", f"{path}/b:1", f"{path}/none"]
    found = ssm.get_parameters(Names=names)
    assert [one["Value"] for one in found["Parameters"]] == ["1,2", "v"]
    assert found["InvalidParameters"] == [f"{path}/none"]
    deleted = ssm.delete_parameters(Names=[f"{path}/a", f"{path}/none", f"{path}/b"])
    assert deleted["DeletedParameters"] == [f"{path}/a", f"{path}/b"]
    assert deleted["InvalidParameters"] == [f"{path}/none"]


def test_a_path_is_walked_page_by_page_and_filtered(ssm: Any, path: str) -> None:
    for number in range(12):
        put(ssm, f"{path}/{number:02d}")
    put(ssm, f"{path}/deep/er", "secret", Type="SecureString")
    ssm.label_parameter_version(Name=f"{path}/03", Labels=["l"])
    pages = list(ssm.get_paginator("get_parameters_by_path").paginate(Path=path))
    assert [len(page["Parameters"]) for page in pages] == [10, 2]
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True, MaxResults=5)
    assert [len(page["Parameters"]) for page in pages] == [5, 5, 3]

    def names(*filters: tuple[str, str]) -> list[str]:
        wanted = [{"Key": key, "Values": [value]} for key, value in filters]
        found = ssm.get_parameters_by_path(Path=path, Recursive=True, ParameterFilters=wanted)["Parameters"]
        return [one["Name"].removeprefix(path) for one in found]

    assert names(("Type", "SecureString")) == ["/deep/er"]
    assert names(("KeyId", "alias/aws/ssm")) == ["/deep/er"]
    assert names(("Label", "l")) == ["/03"]
    call = ssm.get_parameters_by_path
    assert code_of(call, Path=path, ParameterFilters=[{"Key": "Name", "Values": ["x"]}]) == "InvalidFilterKey"
    option = {"Key": "Type", "Option": "Contains", "Values": ["x"]}
    assert code_of(call, Path=path, ParameterFilters=[option]) == "InvalidFilterOption"
    assert code_of(call, Path=path, ParameterFilters=[{"Key": "Type"}]) == "InvalidFilterValue"
    token = call(Path=path, MaxResults=2)["NextToken"]
    assert code_of(call, Path=path + "/deep", MaxResults=2, NextToken=token) == "InvalidNextToken"
    assert code_of(call, Path="no-slash") == "ValidationException"


def test_descriptions_are_filtered_and_tags_are_their_own(ssm: Any, ec2: Any, path: str) -> None:
    put(ssm, f"{path}/a", Tags=[{"Key": "k", "Value": path}], Tier="Advanced")
    put(ssm, f"{path}/b")

    def names(key: str, *values: str, **more: Any) -> list[str]:
        filters = [
            {"Key": key, "Values": list(values), **more},
            {"Key": "Name", "Option": "BeginsWith", "Values": [path]},
        ]
        found = ssm.describe_parameters(ParameterFilters=filters)["Parameters"]
        return [one["Name"].removeprefix(path) for one in found]

    assert names("tag:k", path) == ["/a"]
    assert names("Tier", "Standard") == ["/b"]
    assert names("Path", path, Option="Recursive") == ["/a", "/b"]
    assert names("DataType", "text") == ["/a", "/b"]
    of = {"ResourceType": "Parameter", "ResourceId": f"{path}/a"}
    ssm.add_tags_to_resource(**of, Tags=[{"Key": "l", "Value": "é"}])
    assert ssm.list_tags_for_resource(**of)["TagList"] == [{"Key": "k", "Value": path}, {"Key": "l", "Value": "é"}]
    ssm.remove_tags_from_resource(**of, TagKeys=["k", "none"])
    assert ssm.list_tags_for_resource(**of)["TagList"] == [{"Key": "l", "Value": "é"}]
    assert path not in str(ec2.describe_tags()["Tags"])
    missing = {**of, "ResourceId": f"{path}/none"}
    assert code_of(ssm.list_tags_for_resource, **missing) == "InvalidResourceId"
    assert code_of(ssm.list_tags_for_resource, **{**of, "ResourceType": "Document"}) == "InvalidResourceType"


def test_a_secret_is_at_rest_only_encrypted_and_read_only_on_demand(service: Service, ssm: Any, path: str) -> None:
    secret = unique("not-in-any-file")
    put(ssm, path, secret, Type="SecureString")
    assert ssm.get_parameter(Name=path, WithDecryption=True)["Parameter"]["Value"] == secret
    assert secret not in ssm.get_parameter(Name=path)["Parameter"]["Value"]
    with sqlite3.connect(service.state_root / "bakehouse.db") as rows:
        stored = rows.execute("SELECT value FROM parameter_versions").fetchall()
    assert stored
    assert not any(secret.encode() in bytes(value) for (value,) in stored)
    assert code_of(ssm.put_parameter, Name=path, Value="v", Type="String", Overwrite=True) == (
        "HierarchyTypeMismatchException"
    )
    other = {"Name": path + "x", "Value": "v", "Type": "SecureString", "KeyId": "alias/mine"}
    assert code_of(ssm.put_parameter, **other) == "InvalidKeyId"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a/b", "ValidationException"),
        ("a b", "ValidationException"),
        ("/a/", "ValidationException"),
        ("//a", "ValidationException"),
        ("/a:1", "ValidationException"),
        ("awsome", "ValidationException"),
        ("/aws/service/mine", "AccessDeniedException"),
        ("/" + "/".join("a" * 16), "HierarchyLevelLimitExceededException"),
        ("/" + "a" * 1100, "ValidationException"),
    ],
)
def test_names_that_cannot_be(ssm: Any, name: str, code: str) -> None:
    assert code_of(ssm.put_parameter, Name=name, Value="v", Type="String") == code


@pytest.mark.parametrize(
    "more",
    [
        {"Value": "a" * 4097},
        {"Value": "a" * 8193, "Tier": "Advanced"},
        {"DataType": "aws:ec2:picture"},
        {"DataType": "aws:ec2:image", "Value": "ami-00000000000000001"},
        {"DataType": "aws:ec2:image", "Value": "hello"},
        {"AllowedPattern": "a"},
    ],
)
def test_values_that_cannot_be(ssm: Any, path: str, more: dict[str, Any]) -> None:
    parameters = {"Name": path, "Value": "v", "Type": "String", **more}
    assert code_of(ssm.put_parameter, **parameters) == "ValidationException"


def test_a_parameter_may_name_an_image_that_exists(ssm: Any, path: str, image_id: str) -> None:
    put(ssm, path, image_id, DataType="aws:ec2:image")
    assert ssm.get_parameter(Name=path)["Parameter"]["DataType"] == "aws:ec2:image"


def test_the_wire_refuses_in_the_services_own_codes(service: Service, ssm: Any, administrator: Caller) -> None:
    wrong_bodies = {
        b'{"Name": 1}': "SerializationException",
        b'{"Name": "x", "WithDecryption": "true"}': "SerializationException",
        b'{"Name": ': "SerializationException",
        b"[" * 100_000: "SerializationException",
        b'{"Name": "x", "Name": "y"}': "SerializationException",
        b"[]": "SerializationException",
        b'{"Nome": "x"}': "ValidationException",
        b'{"Name": null}': "ValidationException",
        b'{"Name": ""}': "ValidationException",
        b"": "ValidationException",
    }
    for body, code in wrong_bodies.items():
        answer = administrator.call_body("GetParameter", body, service="ssm")
        assert (answer.status, answer.code) == (400, code), body[:50]
    assert code_of(ssm.get_document, Name="x") == "UnsupportedOperationException"
    wrong = Keys(account_id="1" * 12, access_key_id=service.administrator.access_key_id, secret_access_key="wrong")
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        service.client("ssm", wrong).describe_parameters()
    unknown = Keys(account_id="1" * 12, access_key_id="AKIAUNKNOWN", secret_access_key="wrong")
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        service.client("ssm", unknown).describe_parameters()


def test_another_account_and_another_region_see_nothing_of_it(
    service: Service, ssm: Any, other_keys: Keys, path: str, belongings: Belongings
) -> None:
    put(ssm, path)
    arn = ssm.get_parameter(Name=path)["Parameter"]["ARN"]
    assert ssm.get_parameter(Name=f"{arn}:1")["Parameter"]["Name"] == path
    others = (service.client("ssm", other_keys), service.client("ssm", region=OTHER_REGION))
    for client in others:
        for name in (path, arn):
            assert code_of(client.get_parameter, Name=name) == "ParameterNotFound"
            assert code_of(client.delete_parameter, Name=name) == "ParameterNotFound"
            assert code_of(client.get_parameter_history, Name=name) == "ParameterNotFound"
            assert code_of(client.label_parameter_version, Name=name, Labels=["l"]) == "ParameterNotFound"
            assert client.delete_parameters(Names=[name])["DeletedParameters"] == []
            assert client.get_parameters(Names=[name])["Parameters"] == []
        of = {"ResourceType": "Parameter", "ResourceId": path}
        assert code_of(client.list_tags_for_resource, **of) == "InvalidResourceId"
        assert code_of(client.add_tags_to_resource, **of, Tags=[{"Key": "k", "Value": "v"}]) == "InvalidResourceId"
        assert code_of(client.remove_tags_from_resource, **of, TagKeys=["k"]) == "InvalidResourceId"
        assert path not in str(client.describe_parameters())
        assert path not in str(client.get_parameters_by_path(Path="/", Recursive=True))
        put(client, path, "own")
        assert client.get_parameter(Name=path)["Parameter"]["Value"] == "own"
        private = {"Name": path + "i", "Value": belongings.image, "Type": "String", "DataType": "aws:ec2:image"}
        assert code_of(client.put_parameter, **private) == "ValidationException"
    assert ssm.get_parameter(Name=path)["Parameter"]["Value"] == "v"


def test_every_account_finds_the_base_images_of_its_region_by_public_names(
    service: Service, other_keys: Keys, base_image_ids: list[str]
) -> None:
    of_13, of_12 = base_image_ids
    home = service.client("ssm", other_keys)
    found = home.get_parameter(Name=LATEST)["Parameter"]
    assert (found["Value"], found["DataType"]) == (of_13, "aws:ec2:image")
    assert found["ARN"] == f"arn:aws:ssm:us-east-1::parameter{LATEST}"
    assert home.get_parameter(Name=NEWEST)["Parameter"]["Value"] == of_12
    below = home.get_parameters_by_path(Path="/aws/service/debian", Recursive=True)["Parameters"]
    assert {one["Name"]: one["Value"] for one in below} == {LATEST: of_13, LATEST.replace("13", "12"): of_12}
    assert LATEST not in str(home.describe_parameters())
    there = service.client("ssm", other_keys, region=OTHER_REGION).get_parameter(Name=LATEST)["Parameter"]["Value"]
    images = service.client(keys=other_keys, region=OTHER_REGION).describe_images(ImageIds=[there])["Images"]
    assert [one["Name"] for one in images] == ["debian-13-amd64-20260101"]
    assert code_of(home.delete_parameter, Name=LATEST) == "ParameterNotFound"


def test_a_policy_about_a_parameter_holds_however_it_is_named(service: Service, ssm: Any, path: str) -> None:
    put(ssm, path)
    arn = ssm.get_parameter(Name=path)["Parameter"]["ARN"]
    keys = new_user(service, allow("ssm:*"), deny("ssm:*", resource=arn))
    theirs = service.client("ssm", keys)
    for name in (path, f"{path}:1", arn, f"{arn}:1"):
        with pytest.raises(ClientError, match="AccessDeniedException"):
            theirs.get_parameter(Name=name)
    with pytest.raises(ClientError, match="AccessDeniedException"):
        theirs.add_tags_to_resource(ResourceType="Parameter", ResourceId=path, Tags=[{"Key": "k", "Value": "v"}])
    put(theirs, f"{path}-other")
