"""Bakehouse: a self-hosted AMI service. ARCHITECTURE.md is the way in."""

__version__ = "0.1.0"
