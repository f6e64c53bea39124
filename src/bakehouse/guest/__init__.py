"""What a guest sees of us: the metadata service, the guest agent and the base image."""
