"""Profiles: how much of a chapter is run.

`full` is a notebook's own defaults, and what the committed book is made of.  `quick` is what `notebooks/quick.toml`
puts in their place, a section a technique: fewer items, so that every chapter runs within minutes.  A profile is
parameters and nothing else, so whatever it changes stands in the record.
"""

import tomllib

from medlib.errors import MedlibError

PROFILES = ("full", "quick")


def parameters(profile, technique, house):
    """The parameters that a profile gives a technique in place of its defaults.

    >>> parameters("quick", "lesion", paths.root())
    {'n_items': 6}

    MedlibError for a profile there is not, and where quick.toml cannot be read.
    """
    if profile not in PROFILES:
        raise MedlibError(f"There is no profile {profile!r}. Choose one of {', '.join(PROFILES)}.")
    path = house / "notebooks" / "quick.toml"
    if profile == "full" or not path.is_file():
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get(technique, {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MedlibError(
            f"notebooks/quick.toml cannot be read: {error}. Mend it, or bring back an earlier one."
        ) from None
    if not isinstance(found, dict):
        raise MedlibError(f"notebooks/quick.toml gives {technique} {found!r}; it needs a section [{technique}].")
    return found


def of(values, defaults, technique, house):
    """The profile that parameters are of: "full", "quick", or "own" where they are neither's; whatever the model."""
    given = {name: value for name, value in values.items() if name != "model_name"}
    defaults = {name: value for name, value in defaults.items() if name != "model_name"}
    for profile in PROFILES:
        if given == defaults | parameters(profile, technique, house):
            return profile
    return "own"
