"""The wire: bytes to dicts to one domain call, and back."""
