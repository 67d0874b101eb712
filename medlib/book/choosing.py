"""Which run of a chapter on a model counts, where there are two: that of this machine and that committed with the book.

A current run goes before a stale one, and of two that are alike the later counts.  By dates alone a run that was made
while a clock was ahead would hide every run that is made after it.
"""

from medlib import paths
from medlib.book import current, forms

_ORDER = ("stale", "unknown", "current")


def rank(record, house):
    """What a recorded run is sorted by among those of its chapter and model: the highest is the one that counts.

    >>> max(records, key=lambda record: choosing.rank(record, house))
    """
    state, _ = current.standing(record, house)
    return _ORDER.index(state), record["finished"]


def chosen(model, technique, house=None):
    """The run of a chapter on a model that counts: `(folder, record)`, or None where there is no whole one to read.

    >>> folder, record = choosing.chosen("smollm2-135m", "lesion")
    """
    house = house or paths.root()
    folders = [place / paths.slug(model) for place in (paths.committed(house), paths.runs(house))]
    whole = [(folder, record) for folder in folders if (record := forms.complete(folder, technique))]
    readable = [(folder, record) for folder, record in whole if not forms.other(record)]
    return max(readable, key=lambda run: rank(run[1], house), default=None)
