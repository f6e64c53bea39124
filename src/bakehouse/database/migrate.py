"""Bring a database to the newest schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from bakehouse.database.session import Database


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(database: Database) -> None:
    """Run the migrations that are missing; safe to call at every start, by several processes at once too."""
    config = _config()
    # Locked before the version is read. Left to itself Alembic reads it first, and SQLite gets a transaction for each
    # migration: another process could run them in between.
    with database.engine.begin() as connection:
        database.take_write_lock(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
