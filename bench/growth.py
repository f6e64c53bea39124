"""How the cost of a request grows with what an account has: 100, 1,000 and 10,000 images and as many instances.

Ours gets its records as rows: one image and one stopped instance made through the API, copied in the database. moto
gets them as it makes them. Neither figure is a promise but the last ones: asking for one of many must not cost more
than asking for one of few.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from bench.figure import Figure, at_most
from bench.rival import MOST_INSTANCES, Server, ours, running_moto
from bench.throwaway import Bench

SIZES = (100, 1_000, 10_000)
_SECONDS = 1.0
_WAIT = {"Delay": 1, "MaxAttempts": 300}
_DRY_RUN_SUCCEEDS = 412
_CREATE_NUMBERS = "CREATE TEMP TABLE numbers (n INTEGER PRIMARY KEY)"


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of both; ``parameters`` may name ``{image}``, ``{instance}`` and ``{type}``."""

    name: str
    action: str
    parameters: Mapping[str, str]
    status: int = 200

    def is_limited(self, size: int) -> bool:
        """Whether moto has fewer records of that kind."""
        return self.action == "DescribeInstances" and size > MOST_INSTANCES

    def ask(self, server: Server, known: Mapping[str, str]) -> float:
        """Milliseconds for one answer."""
        parameters = {name: value.format_map(known) for name, value in self.parameters.items()}
        return 1000 * server.ask_for(_SECONDS, self.action, parameters, status=self.status).seconds_each


_RUN = {"ImageId": "{image}", "MinCount": "1", "MaxCount": "1", "InstanceType": "t3.nano", "DryRun": "true"}
QUESTIONS = (
    Question(name="DescribeImages, all own", action="DescribeImages", parameters={"Owner.1": "self"}),
    Question(name="DescribeImages, one by id", action="DescribeImages", parameters={"ImageId.1": "{image}"}),
    Question(name="DescribeInstances, all", action="DescribeInstances", parameters={}),
    Question(
        name="DescribeInstances, one by id", action="DescribeInstances", parameters={"InstanceId.1": "{instance}"}
    ),
    Question(name="RunInstances, dry run", action="RunInstances", parameters=_RUN, status=_DRY_RUN_SUCCEEDS),
)
# These may not grow with the number of records.
_OF_ONE = (QUESTIONS[1], QUESTIONS[3], QUESTIONS[4])
_MAY_GROW = 3.0


def measure(bench: Bench) -> Iterator[Figure]:
    """Each question at each size, ours with moto's in the note; then how much those about one thing have grown."""
    known = _prototypes(bench)
    mine: dict[tuple[str, int], float] = {}
    have = 1
    for size in SIZES:
        _multiply(bench, known, have, size)
        have = size
        with running_moto(size) as moto:
            theirs_known = _known_to(moto)
            for question in QUESTIONS:
                mine[question.name, size] = question.ask(ours(bench), known)
                theirs = question.ask(moto, theirs_known)
                yield Figure(
                    name=f"{question.name}, of {size:,}",
                    figure=mine[question.name, size],
                    unit="ms",
                    note=f"moto {theirs:.3g} ms" + (f", of {MOST_INSTANCES:,}" if question.is_limited(size) else ""),
                )
    for question in _OF_ONE:
        grown = mine[question.name, SIZES[-1]] / mine[question.name, SIZES[0]]
        name = f"{question.name}: {SIZES[-1]:,} records against {SIZES[0]:,}"
        yield Figure(name=name, figure=grown, unit="times", target=at_most(_MAY_GROW))


def _prototypes(bench: Bench) -> dict[str, str]:
    """One own image, and one instance that is stopped."""
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": bench.own_snapshot_id}}
    own = bench.ec2.register_image(Name="prototype", RootDeviceName="/dev/xvda", BlockDeviceMappings=[mapping])
    instance_id = bench.run_instance(bench.small_image_id, "t3.nano")
    bench.ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=_WAIT)
    bench.ec2.stop_instances(InstanceIds=[instance_id], Force=True)
    bench.ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance_id], WaiterConfig=_WAIT)
    return {"image": own["ImageId"], "instance": instance_id}


def _multiply(bench: Bench, known: Mapping[str, str], have: int, want: int) -> None:
    """Copy the prototypes' rows until there are ``want`` of each."""
    with closing(sqlite3.connect(bench.settings.state.database, timeout=60)) as database, database:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute(_CREATE_NUMBERS)
        database.executemany("INSERT INTO numbers VALUES (?)", ((number,) for number in range(have, want)))
        instance = "printf('i-%017x', n)"
        image_id, instance_id = known["image"], known["instance"]
        _copy(
            database, "images", ("image_id", image_id), {"image_id": "printf('ami-%017x', n)", "name": "'many-' || n"}
        )
        _copy(
            database,
            "instances",
            ("instance_id", instance_id),
            {"instance_id": instance, "reservation_id": "printf('r-%017x', n)", "uid_number": "NULL"},
        )
        interface = "printf('eni-%017x', n)"
        _copy(
            database,
            "network_interfaces",
            ("instance_id", instance_id),
            {
                "interface_id": interface,
                "instance_id": instance,
                "attachment_id": "printf('eni-attach-%017x', n)",
                "private_ip": "printf('10.0.%d.%d', n / 256, n % 256)",
            },
        )
        own_interface = "SELECT interface_id FROM network_interfaces WHERE instance_id = ?"
        [prototype] = database.execute(own_interface, (instance_id,)).fetchone()
        _copy(database, "interface_groups", ("interface_id", prototype), {"interface_id": interface})
        _copy(
            database,
            "volumes",
            ("instance_id", instance_id),
            {"volume_id": "printf('vol-%017x', n)", "instance_id": instance},
        )


def _copy(database: sqlite3.Connection, table: str, row: tuple[str, str], changed: Mapping[str, str]) -> None:
    """Copy one row for each number; ``changed`` says in SQL what differs."""
    columns = [each[1] for each in database.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changed.get(column, f"{table}.{column}") for column in columns)
    key, value = row
    statement = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}, numbers WHERE {key} = ?"
    database.execute(statement, (value,))


def _known_to(moto: Server) -> dict[str, str]:
    client = moto.client()
    image = client.describe_images(Owners=["self"], MaxResults=5)["Images"][0]
    instance = client.describe_instances(MaxResults=5)["Reservations"][0]["Instances"][0]
    return {"image": image["ImageId"], "instance": instance["InstanceId"]}
