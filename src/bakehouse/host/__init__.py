"""What touches the host directly: programs, files, locks, the event loop."""
