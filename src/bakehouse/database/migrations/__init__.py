"""Alembic's home: the schema only ever changes by a migration here."""
