"""Promoting the runs of this machine to those that are committed with the book."""

import json
import shutil

from medlib import paths
from medlib.book import current, disk, execute, forms, pairs, placing, profiles, work
from medlib.errors import MedlibError


def record(house=None):
    """Promote the local runs to those committed with the book: `(promoted, refused)`, lists of phrases.

    Only runs that are whole, passed and current are promoted.
    """
    house = house or paths.root()
    passed, refused = [], []
    aside = work.folder(house, "record", "runs")
    try:
        with placing.still(house):
            for path in sorted(paths.runs(house).glob("*/*.json")):
                technique, model = path.stem, path.parent.name
                if wrong := _refusal(path.parent, technique, house):
                    refused.append(f"{technique} on {model}: {', '.join(wrong)}")
                elif not _is_there(path, paths.committed(house) / model):
                    for part in placing.PARTS:
                        file = path.with_suffix(part)
                        with disk.named(aside / model / file.name):
                            paths.write_atomically(aside / model / file.name, file.read_bytes())
                    passed.append((technique, model))
        for technique, model in passed:
            placing.place(aside / model, paths.committed(house) / model, technique, house)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return [f"{technique} on {model}" for technique, model in passed], refused


def _is_there(path, folder):
    before = forms.complete(folder, path.stem)
    return before is not None and before["run"] == json.loads(path.read_text())["run"]


def _refusal(folder, technique, house):
    """Why a local run is not promoted, as phrases; empty where it is."""
    if technique not in current.techniques(house):
        return ["there is no such notebook any more"]
    found = forms.complete(folder, technique)
    if not found:
        return ["incomplete"]
    if others := current.other_forms(found):
        return others
    if wrong := execute.problems(pairs.read(folder / f"{technique}.ipynb")):
        return wrong
    try:
        _, defaults, values = current.prepare(technique, current.model_of(found, house), {}, house)
        if profiles.of(found["parameters"], defaults, technique, house) == "quick":
            return ["a quick run; the book keeps full ones, `medlib run` without a profile"]
        return current.changes(found, technique, values, house)
    except MedlibError:  # of its model, or of what its chapter asks for
        return current.standing(found, house)[1] or ["its model is not to be found here"]
