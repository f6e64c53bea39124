"""Machines: one QEMU process per instance, spoken to over QMP."""
