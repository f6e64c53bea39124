"""One file per EC2 noun; a function per operation, named xform_name(operation)."""
