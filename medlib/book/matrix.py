"""The matrix technique x model x profile: where each run stands, because of what, and what a run would need here.

A cell has two places, the runs of this machine (`_build/runs`) and those committed with the book (`book/runs`), each
with one run of a technique on a model, whichever profile it is of.  Nothing is executed and no model is loaded.
"""

from typing import NamedTuple

from medlib import paths
from medlib.book import at_hand, current, fitting, forms, pairs, placing, profiles
from medlib.models import zoo

NEVER = ("never", [])
STATES = {
    "current": "the run's key is that of now",
    "stale": "something that the run came from is another one now",
    "failed": "the last run on this machine failed, and no other is current",
    "unknown": "the run's model cannot be looked at here, or its chapter's parameters cannot; all else is what it was",
    "never": "it was never run",
    "not runnable": "it was never run, and something is missing here",
    "not for it": "the chapter is not for this model",
}


class Cell(NamedTuple):
    """One technique on one model with one profile: where its runs stand and what a run here lacks."""

    technique: str
    model: str
    profile: str  # full, quick, or own
    here: tuple = NEVER  # (state, reasons) of the run of this machine
    committed: tuple = NEVER  # the same of the one committed with the book
    missing: str = ""  # what this machine lacks, else empty
    unfit: str = ""  # why the chapter is not for the model, else empty

    @property
    def state(self):
        """One word of `STATES`: that of the better of the two places."""
        states = {self.here[0], self.committed[0]}
        for name in ("current", "failed", "stale", "unknown"):
            if name in states:
                return name
        return "not for it" if self.unfit else "not runnable" if self.missing else "never"


def matrix(house=None):
    """All cells: every technique on every model of the zoo, and on those that were run, in the profiles full and quick.

    >>> [cell for cell in matrix() if cell.state == "stale"]

    A run with parameters of its own has a cell with the profile "own".
    """
    house = house or paths.root()
    placing.settle(house)
    places = (paths.runs(house), paths.committed(house))
    notebooks = {name: pairs.read(house / "notebooks" / f"{name}.py") for name in current.techniques(house)}
    found = []
    for model, asked in _models(places, house).items():
        missing = at_hand.missing(asked)
        for technique, notebook in notebooks.items():
            stands = [_standing(place / paths.slug(model), technique, house) for place in places]
            unfit = _unfit(notebook, asked)
            for profile in (*profiles.PROFILES, "own"):
                here, committed = (of_place.get(profile, NEVER) for of_place in stands)
                if profile != "own" or (here, committed) != (NEVER, NEVER):
                    found.append(Cell(technique, model, profile, here, committed, missing, unfit))
    return found


def _models(places, house):
    """The models of the matrix: name -> what it is called to load it, those of the zoo first."""
    found = {name: name for name in zoo.names()}
    for path in sorted(path for place in places for path in place.glob("*/*.json")):
        record = forms.read(path)
        if record and not forms.other(record):
            found.setdefault(record["model"]["name"], current.model_of(record, house))
    return found


def _standing(folder, technique, house):
    """Where the runs in a folder stand, by profile: the whole one, what is left of half a one, and the failed one."""
    stands = {}
    record = forms.complete(folder, technique)
    if record and (others := current.other_forms(record)):
        stands["full"] = ("stale", others)
    elif record:
        stands[current.profile_of(record, house)] = current.standing(record, house)
    elif any((folder / f"{technique}{part}").exists() for part in placing.PARTS):
        stands["full"] = ("stale", ["its files do not belong together"])
    failed = folder / f"{technique}.failed.ipynb"
    if failed.is_file():
        told = current.failure(failed)
        if stands.get(told["profile"], NEVER)[0] != "current":
            stands[told["profile"]] = ("failed", [told["error"]])
    return stands


def _unfit(notebook, model):
    if fitting.is_for(notebook, model):
        return ""
    if fitting.about_images(notebook):
        return "about pictures, and the model reads text only"
    return f"on text, and the model is made around {zoo.entry(model)['wheel']['around']}, which has the chapter"
