"""Blocks, manifests, snapshots, volumes: everything that holds a disk's bytes."""
