"""EC2 records, their rules and state machines: one file per noun."""
