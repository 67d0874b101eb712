"""What the chapters measure, draw and say: a folder for each, and `atlas.py`, which several share.

The notebooks import from here; nothing else does.
"""
