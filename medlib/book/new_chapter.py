"""A new chapter: a notebook that runs as it stands, the page on its method, and their places in the book.

The files in `template/` are that chapter under the name CHAPTER; TITLE is the name as a heading. Everything is made
before anything is written, and where a file then cannot be written, those before it are taken back.
"""

import importlib.metadata
import keyword
import re
import sys
from pathlib import Path

from medlib import paths
from medlib.book import pairs, profiles
from medlib.errors import MedlibError

TEMPLATE = Path(__file__).with_name("template")


def write(name, house=None):
    """Write the chapter `name` and enter it where chapters are listed: the new files, and those that were changed.

    >>> new, changed = write("mine")

    MedlibError for a name that a chapter cannot have or that is taken, and where a list has no chapter to stand after.
    """
    house = house or paths.root()
    _check(name, house)
    new, changed = _new(name, house), _changed(name, house)
    written = []
    try:
        for path, text in (new | changed).items():
            before = path.read_bytes() if path in changed and path.exists() else None
            paths.write_atomically(path, text.encode())
            written.append((path, before))
    except BaseException:
        for path, before in written:  # the new files first: on a full disk their room is needed
            path.unlink() if before is None else paths.write_atomically(path, before)
        raise
    return list(new), list(changed)


def _check(name, house):
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise MedlibError(
            "A chapter is named in small letters, digits and _, begins with a letter, and is no word of Python, "
            f"like 'mine'; got {name!r}."
        )
    taken = [path for path in _places(name, house) if path.exists()]
    if taken or profiles.parameters("quick", name, house):
        what = taken[0].relative_to(house) if taken else f"[{name}] in notebooks/quick.toml"
        raise MedlibError(f"There is {what} already. Choose another name, or remove it first.")
    if name in {"medlib", *sys.stdlib_module_names, *importlib.metadata.packages_distributions()}:
        raise MedlibError(
            f"{name!r} is the name of a Python module; what runs in notebooks/ would import the chapter in its place. "
            "Choose another name."
        )


def _places(name, house):
    return house / f"notebooks/{name}.py", house / f"notebooks/{name}.ipynb", house / f"book/methods/{name}.md"


def _new(name, house):
    """The files of the chapter, path -> text."""
    notebook, page = (_filled(file, name) for file in ("notebook.py", "methods.md"))
    return dict(zip(_places(name, house), (notebook, pairs.as_ipynb(notebook), page), strict=True))


def _changed(name, house):
    """The lists that name chapters, with this one in them, path -> text."""
    question = re.search(r"^\*\*Question\.\*\* (.+)$", _filled("methods.md", name), re.M)[1]
    row = f"| [{_title(name)}](methods/{name}.md) | {question} |"
    quick = house / "notebooks/quick.toml"
    profile = quick.read_text(encoding="utf-8") if quick.exists() else ""
    return {
        quick: profile.rstrip() + "\n" * 2 * bool(profile) + _filled("quick.toml", name),
        house / "_toc.yml": _entered(house, "_toc.yml", r" *- file: methods/(\w+)", f"methods/{name}"),
        house / "book/intro.md": _entered(house, "book/intro.md", r"\| \[.+?\]\(methods/(\w+)\.md\) \|.*", row),
    }


def _entered(house, file, pattern, entry):
    """A list with an entry after that of its last chapter, or after its last page where it names no chapter."""
    try:
        lines = (house / file).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except UnicodeDecodeError as error:
        raise MedlibError(f"{file} is no UTF-8 text: {error}. Bring back an earlier one.") from None
    found = {place: match[1] for place, line in enumerate(lines) if (match := re.fullmatch(pattern, line))}
    if not found:
        raise MedlibError(f"{file} lists no page of book/methods/, after which to enter {entry!r}: enter one by hand.")
    chapters = [place for place, page in found.items() if (house / f"notebooks/{page}.py").is_file()]
    place = max(chapters or found)
    before = re.match(r" *- file: |", lines[place])[0]
    return "\n".join([*lines[: place + 1], before + entry, *lines[place + 1 :]]) + "\n"


def _filled(file, name):
    text = (TEMPLATE / file).read_text(encoding="utf-8")
    return text.replace("CHAPTER", name).replace("TITLE", _title(name))


def _title(name):
    return name.replace("_", " ").capitalize()
