"""Whether a run is current: whether all that it came from is what it was.

That is a matter of content, not of dates: a record holds the sha256 of the notebook, of every file of medlib that it
imported, of the data tables, of the weights and of the lock file, its parameters and the pinned model; of a chapter
made of others' tables, those of these tables too.
"""

import difflib
import json
from contextlib import suppress
from pathlib import Path

from medlib import paths
from medlib.book import at_hand, forms, pairs, placing, profiles
from medlib.book import parameters as told
from medlib.book.forms import complete
from medlib.errors import MedlibError
from medlib.run import PACKAGE, data, sha256

ENOUGH = {"full": ("current",), "quick": ("current", "quick")}  # states of a run that serves for a profile


def techniques(house=None):
    """The techniques there are: names of the notebooks, with the question each asks (its title)."""
    folder = (house or paths.root()) / "notebooks"
    return {path.stem: _title(path) for path in sorted(folder.glob("*.py"))}


def state(technique, model, parameters=None, house=None, runs=None):
    """Where a run stands: `(state, reasons)`, reasons as short phrases.

    The state is current, quick (current, with the parameters of that profile), stale, failed or never.
    """
    house = house or paths.root()
    _, _, values = prepare(technique, model, parameters or {}, house)
    runs = runs or paths.runs(house)
    placing.settle(house, runs)
    folder = runs / paths.slug(model)
    record = complete(folder, technique)
    reasons = changes(record, technique, values, house) if record else []
    if record and not reasons:
        return "current", []
    quick = profiles.parameters("quick", technique, house)
    if record and not parameters and not changes(record, technique, values | quick, house):
        return "quick", []
    failed = folder / f"{technique}.failed.ipynb"
    if failed.is_file():
        return "failed", [failure(failed)["error"]]
    if record:
        return "stale", reasons
    left = [part for part in placing.PARTS if (folder / f"{technique}{part}").exists()]
    return ("stale", ["its files do not belong together"]) if left else ("never", [])


def failure(path):
    """What the notebook that a failed run left says of it: `error`, and the `profile` it was of."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("medlib", {})
        return {"error": str(told.get("error", "it failed")), "profile": str(told.get("profile", "full"))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"error": f"it failed, and {path.name}, which says why, is damaged", "profile": "full"}


def standing(record, house=None):
    """Where a recorded run stands: `(state, reasons)`, the state one of current, stale and unknown.

    >>> standing(forms.complete(folder, "lesion"))
    ('stale', ['medlib/lesion.py changed'])

    Unknown is a run whose model cannot be looked at here, where all else that it came from is what it was, and one of a
    chapter whose parameters cannot be read: the reason says what is broken.
    """
    house, doubts = house or paths.root(), []
    try:
        reasons = why_stale(record, house)
    except MedlibError:
        try:
            reasons, doubts = why_stale(record, house, but_for_its_model=True), ["its model's folder is not here"]
        except MedlibError as error:  # its chapter's parameters cannot be read
            reasons, doubts = [], str(error).splitlines()[:1]
    if reasons:
        return "stale", reasons
    return ("unknown", doubts) if doubts else ("current", [])


def why_stale(record, house=None, but_for_its_model=False):
    """Why a recorded run is not current, as short phrases; empty where its key is that of now.

    >>> why_stale(forms.complete(folder, "lesion"))
    ['medlib/lesion.py changed']

    Its parameters are held against those of its own profile; parameters of one's own have to be the notebook's still.
    MedlibError where its model is not to be found here, unless its model is left out of the comparison.
    """
    from medlib.models import zoo

    house = house or paths.root()
    if of_others := other_forms(record):
        return of_others
    technique = record["technique"]
    if not (house / "notebooks" / f"{technique}.py").is_file():
        return ["its notebook is not there any more"]
    if others := _later_of_other_weights(record, house):
        return [f"{', '.join(others)} was run later on other weights of the same name"]
    profile = profile_of(record, house)
    given = profiles.parameters(profile, technique, house) if profile != "own" else {}
    model = zoo.names()[0] if but_for_its_model else model_of(record, house)
    _, defaults, values = prepare(technique, model, given, house)
    if profile == "own" and set(defaults) == set(record["parameters"]):
        values = {**record["parameters"], "model_name": values["model_name"]}
    return changes(_with_model(model, record) if but_for_its_model else record, technique, values, house)


def _with_model(model, record):
    """A record as it would be of another model, of which all else can then be held against what it is now."""
    changed = {
        "parameters": record["parameters"] | {"model_name": model},
        "run": record["run"] | {"model": pinned(model)},
        "model": record["model"] | {"weights_sha256": None},
    }
    return record | changed


def other_forms(record):
    """How the forms of a record and its table differ from ours, as phrases; a record of another form is not read on."""
    return [f"its {what} has the form {theirs}, not {ours}" for what, theirs, ours in forms.other(record)]


def _later_of_other_weights(record, house):
    """The chapters run later on a model that has this one's name and other weights, such as a folder trained further.

    Where a folder of that name lies no record says, so that its runs alone can tell.  Models of the zoo are pinned.
    """
    from medlib.models import zoo

    name, weights = record["model"]["name"], record["model"]["weights_sha256"]
    if name in zoo.names() or weights is None:
        return []
    folders = [place / paths.slug(name) for place in (paths.committed(house), paths.runs(house))]
    others = [complete(folder, path.stem) for folder in folders for path in folder.glob("*.json")]
    ours = [other for other in others if other and not forms.other(other)]
    later = [other for other in ours if other["finished"] > record["finished"]]
    return sorted({other["technique"] for other in later if other["model"]["weights_sha256"] not in (None, weights)})


def profile_of(record, house):
    """The profile that a recorded run is of: "full", "quick", or "own" where its parameters were neither's.

    A record that does not say is told by its parameters; one made by an earlier state of the notebook, whose defaults
    are not known any more, counts as full.
    """
    told_so = record["run"].get("profile")
    if told_so:
        return told_so
    technique = record["technique"]
    path = house / "notebooks" / f"{technique}.py"
    if not path.is_file():
        return "full"
    found = profiles.of(record["parameters"], told.defaults(pairs.read(path), technique), technique, house)
    return "full" if found == "own" and record["run"]["notebook"] != sha256(path) else found


def model_of(record, house):
    """What a recorded run's model is called to load it again: its name, or its folder, as the record leads to it."""
    from medlib.models import zoo

    name, given = record["model"]["name"], str(record["parameters"].get("model_name", ""))
    with suppress(RuntimeError):  # nobody here has such a home
        if name not in zoo.names() and (folder := house / Path(given).expanduser()).is_dir() and given:
            return str(folder.resolve())
    return name


def pinned(model):
    """What pins a model before it is loaded: its entry in the zoo, its Hub id, or the files of its folder.

    Of a model that is made around another of the zoo, what pins that one is a part of it.

    MedlibError, with near names, for a name that is neither in the zoo nor the form of a Hub id (org/name) or a folder.
    """
    from medlib.models import zoo

    folder = Path(model).expanduser()
    if model not in zoo.names() and folder.is_dir():
        return {"folder": at_hand.files_sha256(folder)}
    if model not in zoo.names() and model.count("/") == 1 and model[0] not in "/.~":
        return {"hub": model}
    if model[:1] in ("/", ".", "~"):
        raise MedlibError(f"There is no folder {model}, of which the model was to be read.")
    entry = zoo.entry(model)
    pin = {key: entry[key] for key in ("hub", "revision", "wheel") if key in entry}
    around = pin.get("wheel", {}).get("around")
    return pin | {"around": pinned(around)} if around else pin


def prepare(technique, model, parameters, house):
    """A notebook as read, its default parameters and those of this run; MedlibError for what there is not."""
    path = house / "notebooks" / f"{technique}.py"
    if technique not in (known := techniques(house)):
        near = difflib.get_close_matches(technique, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise MedlibError(
            f"There is no technique {technique!r}.{hint} There are: {', '.join(known) or 'none'}.\n"
            "A technique is a notebook, notebooks/<technique>.py; `medlib techniques` lists them."
        )
    notebook = pairs.read(path)
    asked = told.read(notebook, technique)
    defaults, ranges = ({name: pair[i] for name, pair in asked.items()} for i in (0, 1))
    if "model_name" not in defaults:
        raise MedlibError(f"notebooks/{technique}.py has no parameter `model_name`: it cannot be run for a model.")
    if "model_name" in parameters:
        raise MedlibError("The model is chosen with --model, not with -p model_name=...")
    values = told.resolve(defaults, {**parameters, **({"model_name": model} if model else {})}, technique, ranges)
    values["model_name"] = _placed(values["model_name"])
    pinned(values["model_name"])
    return notebook, defaults, values


def changes(record, technique, values, house):
    """What differs between the inputs of a recorded run and the same inputs now."""
    if of_others := other_forms(record):
        return of_others
    then, now = record["run"], inputs(record, technique, values, house)
    same = {
        "the notebook changed": then["notebook"] == now["notebook"],
        "the parameters changed": record["parameters"] == now["parameters"],
        "the model's pin changed": then["model"] == now["model"],
        "the weights changed": None in (weights := (record["model"]["weights_sha256"], now["weights"]))
        or weights[0] == weights[1],
        "requirements.lock changed": then["lock"] == now["lock"],
        "the data tables changed": record["data"] == now["data"],
    }
    changed = [name for name, digest in now["sources"].items() if record["sources"][name] != digest]
    changed += [
        f"the table of {name}" for name in forms.other_tables(then.get("made_of", {}), record["model"]["name"], house)
    ]
    return [reason for reason, unchanged in same.items() if not unchanged] + [f"{name} changed" for name in changed]


def inputs(record, technique, values, house):
    """What a run with these parameters would come from now, in the files of medlib and the data of a recorded one."""
    return {
        "notebook": sha256(house / "notebooks" / f"{technique}.py"),
        "parameters": paths.public(values, house),
        "model": paths.public(pinned(values["model_name"]), house),
        "weights": at_hand.weights_sha256(values["model_name"]),
        "lock": sha256(house / "requirements.lock"),
        "data": data(values, house, record["sources"]),
        "sources": {name: sha256(PACKAGE.parent / name) for name in record["sources"]},
    }


def beforehand(technique, values, house):
    """What a run with these parameters may come from, as it is before the run: `inputs`, of every file of medlib."""
    files = [path.relative_to(PACKAGE.parent).as_posix() for path in sorted(PACKAGE.rglob("*.py"))]
    return inputs({"sources": files}, technique, values, house)


def _placed(model):
    """A model's name; a local folder by its whole path, since a kernel starts in the house, wherever the user is."""
    from medlib.models import zoo

    folder = Path(model).expanduser()
    return str(folder.resolve()) if model not in zoo.names() and folder.is_dir() else model


def _title(path):
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MedlibError(f"notebooks/{path.name} is no UTF-8 text: {error}. Bring back an earlier one.") from None
    lines = (line.removeprefix("# ") for line in text.splitlines())
    return next((line.removeprefix("# ").strip() for line in lines if line.startswith("# ")), path.stem)
