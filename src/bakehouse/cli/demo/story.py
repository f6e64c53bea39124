"""The golden-image loop, as it is told: launch, customise, create image, launch an identical copy."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from bakehouse.cli.demo.clients import AwsCli
from bakehouse.cli.demo.leftovers import GROUP_NAME, IMAGE_NAME, KEY_NAME, TAG
from bakehouse.cli.demo.login import Login
from bakehouse.cli.demo.site import Site, SiteWatcher, fetch, make_site, wait_for_site
from bakehouse.cli.demo.steps import Steps, require
from bakehouse.host.files import make_private_directory, write_atomically
from bakehouse.paths import StateDirectory

# Generous: an emulated machine on a busy host takes its time, and a wrong limit is worse than a long one.
_SSH_LIMIT_S = 900.0
_INSTALL_LIMIT_S = 1800.0
_SITE_LIMIT_S = 300.0
_WAITER = {"Delay": 1, "MaxAttempts": 600}
_INSTALL = """
set -e
sudo apt-get -q -o DPkg::Lock::Timeout=300 update
sudo DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 install -y apache2
"""
_PUT_SITE = "base64 -d | sudo tar --extract --overwrite --no-same-owner --directory /var/www/html"


@dataclass(frozen=True, kw_only=True)
class Story:
    """What every step needs."""

    steps: Steps
    ec2: Any
    aws: AwsCli
    state: StateDirectory


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What the demo leaves running."""

    image_id: str
    webserver: Login
    production: Login


def tell(story: Story, base_image_id: str) -> Ending:
    """Walk the loop; DemoFailed (or the client's own error) at the first thing that does not hold."""
    make_key_pair(story)
    group_id = make_security_group(story)
    webserver = launch(story, base_image_id, name="webserver", instance_type="t3.micro", group_id=group_id)
    site = customise(story, webserver)
    image_id = create_image(story, webserver, site)
    list_images(story, image_id)
    production = launch(story, image_id, name="production", instance_type="t3.small", group_id=group_id)
    compare(story, webserver, production, site)
    return Ending(image_id=image_id, webserver=webserver, production=production)


def make_key_pair(story: Story) -> None:
    """boto3 makes a key pair; its private half is kept in a private directory."""
    with story.steps.step("A key pair"):
        answer = story.ec2.create_key_pair(
            KeyName=KEY_NAME, KeyType="ed25519", TagSpecifications=[_tags_of("key-pair", "demo")]
        )
        make_private_directory(story.state.client)
        write_atomically(story.state.private_key(KEY_NAME), answer["KeyMaterial"])
        story.steps.note(f"{answer['KeyPairId']}, kept in {story.state.private_key(KEY_NAME)}")


def make_security_group(story: Story) -> str:
    """The AWS CLI makes a security group that allows SSH and HTTP."""
    with story.steps.step("A security group that allows SSH and HTTP"):
        about = ("--description", "SSH and HTTP", "--tag-specifications", _cli_tags("security-group", "demo"))
        answer = story.aws("ec2", "create-security-group", "--group-name", GROUP_NAME, *about)
        group_id = str(answer["GroupId"])
        allow = ("ec2", "authorize-security-group-ingress", "--group-id", group_id, "--protocol", "tcp")
        for port in ("22", "80"):
            story.aws(*allow, "--port", port, "--cidr", "0.0.0.0/0")
        rules = story.ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissions"]
        ports = sorted(rule["FromPort"] for rule in rules)
        require(ports == [22, 80], f"the group allows ports 22 and 80, not {ports}")
        return group_id


def launch(story: Story, image_id: str, *, name: str, instance_type: str, group_id: str) -> Login:
    """The AWS CLI runs an instance; boto3 waits for it, and SSH answers."""
    with story.steps.step(f"Launch {name}, a {instance_type}, from {image_id}"):
        answer = story.aws(
            *("ec2", "run-instances", "--image-id", image_id, "--instance-type", instance_type),
            *("--key-name", KEY_NAME, "--security-group-ids", group_id),
            *("--tag-specifications", _cli_tags("instance", name)),
        )
        instance_id = str(answer["Instances"][0]["InstanceId"])
        story.ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=_WAITER)
        found = _describe(story, instance_id)
        require(found["InstanceType"] == instance_type, f"{instance_id} is a {instance_type}")
        story.steps.note(f"{instance_id} is running: {found['PublicIpAddress']}, inside {found['PrivateIpAddress']}")
    with story.steps.step(f"SSH into {name} with the key"):
        login = Login(
            state=story.state,
            instance_id=instance_id,
            address=found["PublicIpAddress"],
            key=story.state.private_key(KEY_NAME),
        )
        login.wait(timeout_s=_SSH_LIMIT_S)
        story.steps.note(login.run("uname -srm; uptime -p").strip())
    return login


def customise(story: Story, webserver: Login) -> Site:
    """Install Apache and a site of our own in the guest; the host sees it at the public address."""
    with story.steps.step("Install Apache with apt-get, in the guest"):
        story.steps.command(f"ssh {webserver.address} sudo apt-get install -y apache2")
        webserver.run(_INSTALL, timeout_s=_INSTALL_LIMIT_S)
    with story.steps.step("A custom site"):
        site = make_site()
        webserver.run(_PUT_SITE, stdin=base64.b64encode(site.archive()).decode())
        wait_for_site(webserver.address, site, timeout_s=_SITE_LIMIT_S)
        story.steps.command(f"curl http://{webserver.address}/")
        story.steps.note(fetch(webserver.address).decode())
    return site


def create_image(story: Story, webserver: Login, site: Site) -> str:
    """Create an image of the running machine, which goes on answering."""
    booted = webserver.run("cat /proc/sys/kernel/random/boot_id")
    with story.steps.step(f"create-image {IMAGE_NAME} --no-reboot, while the site goes on answering"):
        with SiteWatcher(webserver.address, site.files["index.html"]) as watch:
            answer = story.aws(
                *("ec2", "create-image", "--instance-id", webserver.instance_id, "--name", IMAGE_NAME),
                *("--no-reboot", "--tag-specifications", _cli_tags("image", IMAGE_NAME)),
                _cli_tags("snapshot", IMAGE_NAME),
            )
            image_id = str(answer["ImageId"])
            story.ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig=_WAITER)
        require(watch.answers > 0, "the site was asked while the image was made")
        require(not watch.failures, f"the site never failed to answer: {watch.failures[:3]}")
        require(booted == webserver.run("cat /proc/sys/kernel/random/boot_id"), "the machine never rebooted")
        story.steps.note(f"{image_id} is available")
        story.steps.note(
            f"the site answered {watch.answers} times meanwhile and never failed; "
            f"the slowest answer took {watch.slowest_s * 1000:.0f} ms"
        )
    return image_id


def list_images(story: Story, image_id: str) -> None:
    """The image is listed as ours."""
    with story.steps.step("describe-images --owners self"):
        images = story.aws("ec2", "describe-images", "--owners", "self")["Images"]
        mine = {image["ImageId"]: image for image in images}
        require(image_id in mine, f"{image_id} is listed among our images")
        require(mine[image_id]["State"] == "available", f"{image_id} is available")
        require(mine[image_id]["Name"] == IMAGE_NAME, f"{image_id} is named {IMAGE_NAME}")
        for image in images:
            story.steps.note(f"{image['ImageId']}  {image['Name']}  {image['State']}")


def compare(story: Story, webserver: Login, production: Login, site: Site) -> None:
    """The copy serves the same site and is a machine of its own."""
    with story.steps.step("production serves the same site, byte for byte"):
        wait_for_site(production.address, site, timeout_s=_SITE_LIMIT_S)
        total = sum(len(content) for content in site.files.values())
        story.steps.note(f"http://{production.address}/: {len(site.files)} files, {total} bytes, all equal")
        wait_for_site(webserver.address, site, timeout_s=_SITE_LIMIT_S)
    with story.steps.step("... and is a machine of its own"):
        one, other = webserver.identity(), production.identity()
        require(not one.shared_with(other), f"the machines share nothing: {one.shared_with(other)}")
        for login, seen in ((webserver, one), (production, other)):
            known = _describe(story, login.instance_id)
            require(seen.instance_id == known["InstanceId"], "the guest knows its instance id")
            require(seen.private_address == known["PrivateIpAddress"], "the guest knows its address")
            expected = "ip-" + known["PrivateIpAddress"].replace(".", "-")
            require(seen.hostname == expected, f"the hostname is {expected}, not {seen.hostname}")
        for field, first in vars(one).items():
            mine, theirs = (
                text if len(text) < 40 else f"...{text.strip()[-12:]}" for text in (first, getattr(other, field))
            )
            story.steps.note(f"{field.replace('_', ' '):16} {mine:34} {theirs}")


def _describe(story: Story, instance_id: str) -> dict[str, Any]:
    reservations = story.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    found: dict[str, Any] = reservations[0]["Instances"][0]
    return found


def _tags_of(resource_type: str, name: str) -> dict[str, Any]:
    tags = [{"Key": "Name", "Value": name}, {"Key": TAG, "Value": "1"}]
    return {"ResourceType": resource_type, "Tags": tags}


def _cli_tags(resource_type: str, name: str) -> str:
    return json.dumps(_tags_of(resource_type, name), separators=(",", ":"))
