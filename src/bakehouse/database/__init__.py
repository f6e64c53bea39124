"""Rows: models, session, migrations."""
