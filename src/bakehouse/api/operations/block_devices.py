"""The block device mappings that RunInstances, CreateImage and RegisterImage take; the domain checks them."""

HONOURED = (
    "BlockDeviceMappings[].DeviceName",
    "BlockDeviceMappings[].Ebs.DeleteOnTermination",
    "BlockDeviceMappings[].Ebs.Iops",
    "BlockDeviceMappings[].Ebs.SnapshotId",
    "BlockDeviceMappings[].Ebs.Throughput",
    "BlockDeviceMappings[].Ebs.VolumeSize",
    "BlockDeviceMappings[].Ebs.VolumeType",
    "BlockDeviceMappings[].NoDevice",
    "BlockDeviceMappings[].VirtualName",
)
# Nothing is encrypted here, and nothing is said to be.
HARMLESS = {"BlockDeviceMappings[].Ebs.Encrypted": (False,)}
# EC2's documented way to leave a device out is an empty NoDevice.
KEEPS_EMPTY = ("BlockDeviceMappings[].NoDevice",)
