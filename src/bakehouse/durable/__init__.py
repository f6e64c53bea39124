"""The one door to the durable workflow engine."""
