"""Scans: pictures of which everything is known, and questions about them.

Slices of a brain template, with and without a lesion that was painted in, and a few pictures of other modalities; each
picture is drawn from its row in a table, so that the mask of the lesion, its side and its lobe are known for certain.
They are a measuring instrument for the methods of this book, and say nothing about patients.

>>> from medlib import scans
>>> items = scans.make_items("held-out", 100, seed=0)
>>> picture, mask = scans.draw(items.iloc[0])
"""

from medlib.scans.items import SPLITS, draw, make_items, make_scenes

__all__ = ["SPLITS", "draw", "make_items", "make_scenes"]
