"""``./bakehouse bench``: what is promised about speed and memory, measured.

run.py is the way in. One file measures one thing and yields figures; ratios are of one run on one machine.
"""
