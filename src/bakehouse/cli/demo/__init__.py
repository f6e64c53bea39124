"""``bakehouse demo``: the golden-image loop, walked with boto3 and the AWS CLI as unmodified clients.

Read story.py first; every other file here is one of its means.
"""
