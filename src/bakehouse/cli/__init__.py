"""The bakehouse command: one file per noun."""
