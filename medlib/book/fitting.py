"""Which chapters are for which models: one about pictures needs a model that reads them.

A notebook says so by the tag `images` of its parameters cell.  The zoo says what its models read, and a folder's config
what its model does; what a Hub id reads is known only once it is loaded, so every chapter is taken to be for it, and
the notebook refuses it with the reason.
"""

import json
from pathlib import Path

from medlib.errors import MedlibError
from medlib.models import zoo


def is_for(notebook, model):
    """Whether `run-all` runs a notebook on a model.

    A chapter on text is not run on a model whose language model has it already: one made around another of the zoo.
    """
    entry = _entry(model)
    if about_images(notebook):
        return _reads_images(model) is not False
    return entry is None or "around" not in entry.get("wheel", {})


def check(notebook, technique, model):
    """`MedlibError` where a chapter on pictures is asked of a model that reads text only."""
    if about_images(notebook) and _reads_images(model) is False:
        able = [name for name in zoo.names() if "image" in zoo.entry(name)["modality"]]
        raise MedlibError(f"{technique!r} is about pictures, and {model} reads text only. Take {' or '.join(able)}.")


def about_images(notebook):
    """Whether a notebook, as read, needs a model of image and text."""
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    return any({"parameters", "images"} <= set(of_one) for of_one in tags)


def made_of_tables(notebook):
    """Whether a notebook, as read, works on the tables of other chapters, and so comes after them.

    It says so by the tag `made-of-tables` of its parameters cell.
    """
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    return any({"parameters", "made-of-tables"} <= set(of_one) for of_one in tags)


def _reads_images(model):
    """Whether a model reads images; None where that cannot be told before it is loaded."""
    if entry := _entry(model):
        return "image" in entry["modality"]
    try:
        config = json.loads((Path(model).expanduser() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return None
    return "vision_config" in config


def _entry(model):
    return zoo.entry(model) if model in zoo.names() else None
