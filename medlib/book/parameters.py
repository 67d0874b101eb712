"""What a notebook can be told.

A notebook's parameters are the names assigned in its cell tagged `parameters`; the values there are the defaults and
say what type is wanted. A comment that ends in `[1..]`, `[0..1]` or `[last | mean]` says which values are. Papermill
takes any name and any value, and a misspelt one changes nothing: so names and values are checked here, before anything
runs.
"""

import ast
import difflib
import math
import re

from medlib.errors import MedlibError


def defaults(notebook, technique):
    """Names and default values of a notebook's parameters, read from its source without running it.

    MedlibError when there is no cell tagged `parameters`, or when a default is not a plain value.
    """
    return {name: default for name, (default, _) in read(notebook, technique).items()}


def read(notebook, technique):
    """Names of a notebook's parameters, each with its default and the values that its comment allows: a text or None.

    Raises `MedlibError` as `defaults` does.
    """
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise MedlibError(
            f"notebooks/{technique}.py has {len(tagged)} cells tagged `parameters`; it needs one, that begins with "
            '`# %% tags=["parameters", "remove-cell"]` and assigns a default to each parameter.'
        )
    values, lines = {}, tagged[0].source.splitlines()
    try:
        statements = ast.parse(tagged[0].source).body
    except (SyntaxError, ValueError) as error:  # ValueError: a zero byte
        raise MedlibError(
            f"The parameters of notebooks/{technique}.py are not Python: {error}. Mend that cell."
        ) from None
    for statement in statements:
        try:
            (target,) = getattr(statement, "targets", [getattr(statement, "target", None)])
            written = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
            range_ = re.search(r"#.*\[([^\[\]]+)\]$", written, re.M)
            values[target.id] = ast.literal_eval(statement.value), range_ and range_[1]
        except (ValueError, AttributeError, TypeError):
            raise MedlibError(
                f"The parameters of notebooks/{technique}.py hold `{ast.unparse(statement)}`; each line there must "
                "assign one plain value (number, text, True, False, None, list or dictionary of these) to one name."
            ) from None
    return values


def resolve(allowed, given, technique, ranges=None):
    """The parameters a run gets: the defaults, with what was given in their place.

    >>> resolve({"seed": 0, "domain": "drugs"}, {"seed": "3"}, "lesion", {"seed": "0.."})
    {'seed': 3, 'domain': 'drugs'}

    Text is read as papermill's `-p` reads it, and as a Python literal where the default is a list or dictionary.
    MedlibError lists what is allowed for a name that is not a parameter, for a value of another type than the default,
    and for one outside its `ranges`, texts like "0..", "0..1" or "last | mean".
    """
    values = dict(allowed)
    for name, value in given.items():
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise MedlibError(f"{technique!r} has no parameter {name!r}.{hint}\n{_listing(allowed)}")
        values[name] = _as_type_of(allowed[name], value, name, technique, allowed)
        wanted = (ranges or {}).get(name)
        if wanted is not None and not _inside(values[name], wanted):
            raise MedlibError(f"Parameter {name!r} of {technique!r} is {values[name]!r}, and can be {_said(wanted)}.")
    return values


def _inside(value, wanted):
    if ".." not in wanted:
        return str(value) in [choice.strip() for choice in wanted.split("|")]
    least, most = wanted.split("..")
    return (not least or value >= float(least)) and (not most or value <= float(most))


def _said(wanted):
    if ".." not in wanted:
        return " or ".join(choice.strip() for choice in wanted.split("|"))
    least, most = wanted.split("..")
    return " and ".join([f"{least} or more"] * bool(least) + [f"{most} or less"] * bool(most))


def _as_type_of(default, value, name, technique, allowed):
    wanted = type(default).__name__ if default is not None else "any"
    read = _read(value, default) if isinstance(value, str) else value
    if wanted == "float" and type(read) is int:
        read = float(read)
    if wanted == "list" and isinstance(read, tuple):
        read = list(read)
    fits = wanted == "any" or type(read) is type(default)
    if not fits or (isinstance(read, float) and not math.isfinite(read)):
        raise MedlibError(
            f"Parameter {name!r} of {technique!r} must be {_WORDS.get(wanted, wanted)}; got {value!r}.\n"
            f"{_listing(allowed)}"
        )
    return read


_WORDS = {"int": "a whole number", "float": "a finite number", "bool": "True or False", "str": "text", "list": "a list"}


def _read(text, default):
    if isinstance(default, str):
        return text
    if isinstance(default, list | tuple | dict):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def _listing(allowed):
    lines = [f"  {name} = {value!r}" for name, value in allowed.items() if name != "model_name"]
    return "\n".join(["Its parameters, with their defaults:", *lines]) if lines else "It has no parameters."
