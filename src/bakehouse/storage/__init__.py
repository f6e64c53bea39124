"""Blocks, manifests, snapshots, bases and volumes: everything that keeps a disk's bytes.

The words: a *block* is 512 KiB, named by its *digest*; a *manifest* maps block indexes to digests; a
*snapshot* is a stored manifest; a *base* is a snapshot's blocks written out as one read-only raw file; a
*volume* is a qcow2 overlay over a base. Bytes on disk: docs/formats/.
"""
