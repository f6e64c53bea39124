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
    with database.engine.connect() as connection:
        # SQLite's write lock comes with the first statement.
        database.take_write_lock(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
