"""The long flows, one per file, read top to bottom."""
