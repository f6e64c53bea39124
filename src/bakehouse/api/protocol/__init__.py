"""Parsers and serializers driven by botocore's models, one file per protocol."""
