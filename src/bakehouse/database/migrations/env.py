"""Alembic's entry: runs the migrations on the connection that ``migrate`` hands over."""

from alembic import context

from bakehouse.database.models import Row

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Row.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    # The workflow engine keeps its own tables in the same database.
    include_name=lambda name, kind, _parents: kind != "table" or name in Row.metadata.tables,
)
with context.begin_transaction():
    context.run_migrations()
