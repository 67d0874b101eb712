"""Where things are, and what may be written down about it.

A *house* is a folder with `notebooks/`: a checkout of this project, or a folder of one's own with the same layout.
Runs go to its ignored work folder and are promoted to its `book/`. What is written there is read by strangers:
`public` takes out the places and secrets of the machine it was written on.
"""

import hashlib
import os
import re
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import platformdirs

from medlib.models import zoo

LONGEST = 100  # letters of a model's name that are kept in a file's name, which may have some 250 in all
# What may stand before a place: no word that it would be part of, but the letter of an escape (\n as a text is shown),
# the m of a colour, and that of an option (-I/usr/include).  After it a full stop may end a sentence.
_BEFORE = re.compile(r"(?:^|[^\w.-]|\\[abfnrtv]|\[[\d;]*m|(?<!\w)-[A-Za-z])\Z")
_LONGEST_BEFORE = 24
_AFTER = r"(?![\w-]|\.\w)"


def root():
    """The house we are in: the nearest folder upwards with a table of contents, else one with notebooks, else ours."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    ours = Path(__file__).resolve().parent.parent
    return here if (here / "notebooks").is_dir() or not (ours / "notebooks").is_dir() else ours


def runs(house=None):
    """Folder of the local runs, one folder a model: `MEDLIB_RUNS`, else `_build/runs` of the house."""
    given = os.environ.get("MEDLIB_RUNS")
    return Path(given) if given and house is None else (house or root()) / "_build" / "runs"


def committed(house=None):
    """Folder of the runs that are committed with the book."""
    return (house or root()) / "book" / "runs"


def cache():
    """Folder of what can be made again: `MEDLIB_CACHE`, else `medlib` in the user's cache folder."""
    given = os.environ.get("MEDLIB_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("medlib")


def slug(model):
    """A model's name as a file name: no separators, nothing that leads out of a folder.

    >>> slug("org/model-7b"), slug("/home/me/models/mine")
    ('org--model-7b', 'mine')

    Two names never share one: a name that could not be read back from it (letters that a file name cannot have, `--`,
    an empty part) and one that is too long for a file name get `---` and a hash, which no other has.  Where a file
    system takes A for a, so do its folders.
    """
    name = folder_name(model) if model.startswith(("/", "~", ".")) else model
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", name.replace("/", "--")).lstrip(".-") or "model"
    if "---" not in plain and plain.replace("--", "/") == name and len(plain) <= LONGEST:
        return plain
    return f"{plain[:LONGEST]}---{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"


def folder_name(folder):
    """The name of a model in a local folder: the folder's, whose place on this machine is nobody's business.

    A folder that is named like a model of the zoo is told apart from it.
    """
    try:
        name = Path(folder).expanduser().resolve().name
    except (ValueError, RuntimeError):  # no file has such a name, or nobody here has such a home
        name = Path(folder).name
    return f"{name}-folder" if name in zoo.names() else name


def write_atomically(path, data):
    """Write bytes so that a reader sees the old file or the whole new one, whenever the power goes.

    An `OSError` names the file that was to be written, and not the temporary one alone.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename2 is None:
            error.filename = str(path)
        raise


def public(value, house=None):
    """The same text, list or dict without the paths and tokens of this machine.

    >>> public(f"{Path.home()}/models/mine")
    '~/models/mine'

    The tokens are those that `huggingface_hub.get_token` finds in the environment and in the file of `hf auth login`.
    """
    return _without(value, _tokens(), _places(house))


def _without(value, tokens, places):
    if isinstance(value, dict):
        return {_without(key, tokens, places): _without(item, tokens, places) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(item, tokens, places) for item in value]
    if not isinstance(value, str):
        return value
    for token in tokens:
        value = value.replace(token, "<token>")
    value = re.sub(rf"{re.escape(tempfile.gettempdir())}/ipykernel_\d+/\d+\.py", "<cell>", value)
    for place, name in places:
        if place in value:
            value = re.sub(re.escape(place) + _AFTER, partial(_named, name), value)
    return value


def _named(name, found):
    """What stands for a place that was found in a text; itself where it is the end of a longer one."""
    before = found.string[max(0, found.start() - _LONGEST_BEFORE) : found.start()]
    return name if _BEFORE.search(before) else found[0]


def _places(house):
    """Folders of this machine with what stands for them, each as it is called and where links lead; longest first."""
    called = {sys.prefix: "<python>", sys.base_prefix: "<python>", house or root(): ".", Path.home(): "~"}
    places = {str(Path(place).resolve()): name for place, name in called.items()}
    places |= {str(place): name for place, name in called.items()}
    places = {place: name for place, name in places.items() if len(place) > 1}  # a home of "/" would match everything
    return sorted(places.items(), key=lambda item: -len(item[0]))


def _tokens():
    """Tokens of the Hub, found without its library: to import it takes long, and it may ask the network for one."""
    given = [os.environ.get(name, "") for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")]
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    file = os.environ.get("HF_TOKEN_PATH", str(Path(os.environ.get("HF_HOME", cache), "token")))
    with suppress(OSError, ValueError, RuntimeError):  # nobody has logged in
        given.append(Path(os.path.expandvars(file)).expanduser().read_text())
    return [token for text in given if (token := text.replace("\r", "").replace("\n", "").strip())]
