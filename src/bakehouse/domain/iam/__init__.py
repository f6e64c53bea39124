"""IAM and STS: who asks, and whether the policies let them."""
