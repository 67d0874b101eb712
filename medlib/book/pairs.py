"""Each notebook is a pair of files: the .py is the truth, the .ipynb is written from it.

The .py is what people read, edit and compare; the .ipynb is what papermill and Jupyter open. It holds no outputs:
those are in the executed runs.
"""

import nbformat

from medlib import paths
from medlib.book.stamp import clean
from medlib.errors import MedlibError


def write(house=None):
    """Write each notebook's .ipynb from its .py; the names of those that changed."""
    changed = different(house)
    for name in changed:
        script = _folder(house) / f"{name}.py"
        paths.write_atomically(script.with_suffix(".ipynb"), as_ipynb(script.read_text(encoding="utf-8")).encode())
    return changed


def different(house=None):
    """Names of the notebooks whose .ipynb is missing or damaged, has outputs, or holds other cells than the .py."""
    return [
        script.stem
        for script in sorted(_folder(house).glob("*.py"))
        if not _is_pair(script, script.with_suffix(".ipynb"))
    ]


def alone(house=None):
    """Names of the .ipynb in the folder that have no .py."""
    return [file.stem for file in sorted(_folder(house).glob("*.ipynb")) if not file.with_suffix(".py").is_file()]


def read(path):
    """An .ipynb, or a py:percent .py, as a notebook node; MedlibError for a file that is damaged or none."""
    import jupytext

    try:
        notebook = jupytext.read(path) if path.suffix == ".py" else nbformat.read(path, as_version=4)
        if all(isinstance(cell.source, str) and isinstance(cell.metadata, dict) for cell in notebook.cells):
            return notebook
        why = "its cells have no text"
    except OSError:
        raise
    except Exception as error:  # whatever the two libraries make of what is no notebook
        why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    remedy = "bring back an earlier one" if path.parent.name == "notebooks" else "run the chapter again"
    raise MedlibError(f"{path.parent.name}/{path.name} cannot be read as a notebook ({why}): {remedy}.")


def as_ipynb(script):
    """The text of the .ipynb that belongs to the text of a .py."""
    import jupytext

    notebook = jupytext.reads(script, fmt="py:percent")
    clean(notebook)
    del notebook.metadata["papermill"]
    return nbformat.writes(notebook, version=4) + "\n"


def _folder(house):
    return (house or paths.root()) / "notebooks"


def _is_pair(script, other):
    """Whether an .ipynb is there, can be read, and holds the cells of the .py."""
    cells = _cells(script)
    try:
        return other.is_file() and _cells(other) == cells
    except MedlibError:  # damaged: it is written anew
        return False


def _cells(path):
    fields = ("tags", "mystnb")
    return [
        (cell.cell_type, cell.source, [cell.metadata.get(field) or None for field in fields], bool(cell.get("outputs")))
        for cell in read(path).cells
    ]
