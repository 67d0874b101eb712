"""Reading a domain: the TOML that describes it and the CSV that must be as described.

A column is a *label* with a fixed vocabulary (`values`), a whole number (`from`, `to`), or text (`pattern`); a label
may name the column that holds an item's further values (`others`).  A
template is a sentence with a gap for the item, `{entity}`, and perhaps gaps for other columns.  Whatever is wrong with
a table is said with the file, the row (as a spreadsheet counts them, the header is row 1) and the column.
"""

import csv
import difflib
import re
import string
import tomllib

import pandas as pd
import pandera.pandas as pa

from medlib.errors import MedlibError

EVERYWHERE = {  # the columns every table has, first and last
    "item": {"unique": True, "pattern": r"\S(.*\S)?"},
    "source": {"pattern": r"\S.*"},
    "checked": {"pattern": r"\S.*"},
}
REQUIRED = {"title", "about", "licence", "columns", "templates"}
OPTIONAL = {"control", "cluster", "questions"}
RESERVED = {"variant", "prompt", "answer", "also", "cluster"}  # columns that the library adds
KINDS = {  # what each key of a description holds, wherever it stands
    **dict.fromkeys(("title", "about", "licence", "control", "cluster", "answer", "also", "asks"), str),
    **dict.fromkeys(("others", "pattern"), str),
    **dict.fromkeys(("columns", "templates", "questions"), dict),
    **dict.fromkeys(("from", "to", "at_least"), int),
    **dict.fromkeys(("unique", "many", "optional"), bool),
    "values": (list, str),
}
COLUMN_KEYS = {"about", "values", "others", "at_least", "from", "to", "pattern", "unique", "many", "optional"}
WORDS = {str: "a text", dict: "a table", int: "a whole number", bool: "true or false", (list, str): "a list of texts"}


def read_description(path):
    """The description of a domain: its TOML file, checked; a dict."""
    try:
        description = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MedlibError(f"There is no file {path}; a domain is described in a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise MedlibError(f"{path} is not TOML in UTF-8: {error}.") from None
    _keys(path, "the top level", description, REQUIRED, OPTIONAL)
    for column, rules in description["columns"].items():
        _keys(path, f"[columns.{column}]", rules, {"about"}, COLUMN_KEYS)
        if column in RESERVED | set(EVERYWHERE):
            raise MedlibError(
                f"{path}, [columns.{column}]: the library has a column {column!r} of its own; rename yours."
            )
        if not column.isidentifier():
            raise MedlibError(f"{path}, [columns.{column!r}]: a column is named in letters, digits and _.")
        _rules(path, column, rules, description["columns"])
    if description.get("cluster", "item") not in {"item", *description["columns"]}:
        raise MedlibError(
            f"{path}, the top level: cluster is {description['cluster']!r}, which is no column of the table."
        )
    _templates(path, "[templates]", description)
    if "questions" in description:
        asked = description["questions"]
        _keys(path, "[questions]", asked, {"answer", "templates"}, {"also", "asks"})
        for role in {"answer", "also"} & set(asked):
            rules = description["columns"].get(asked[role])
            if rules is None:
                raise MedlibError(f"{path}, [questions]: {role} is {asked[role]!r}, which is no column of the table.")
            if "from" in rules or (role == "answer" and rules.get("many")):
                raise MedlibError(
                    f"{path}, [questions]: {role} is {asked[role]!r}, a column of numbers or of several values; it "
                    "must be a column of texts, one a cell for answer."
                )
        _templates(path, "[questions.templates]", asked, description["columns"])
        for name, template in asked["templates"].items():
            if f"{{{asked['answer']}}}" in template:
                raise MedlibError(f"{path}, [questions.templates]: {name} = {template!r} holds its own answer.")
    return description


def read_table(path, description):
    """The table of a domain, `item` first, `source` and `checked` last; text, but for columns of numbers."""
    columns = {"item": EVERYWHERE["item"], **description["columns"]}
    columns |= {name: EVERYWHERE[name] for name in ("source", "checked")}
    table = _read(path, list(columns))
    schema = pa.DataFrameSchema({name: _column(rules) for name, rules in columns.items()})
    try:
        return _without_answers(path, schema.validate(table, lazy=True), description)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases.dropna(subset="index")  # without a row: a check that an earlier failure broke
        if cases.empty:
            raise MedlibError(f"{path}: a check could not be made: {error.failure_cases.iloc[0].to_dict()}.") from None
        cases = cases.astype({"index": int})
        first = cases.sort_values("index", kind="stable").iloc[0]
        more = f" ({len(cases) - 1} more like this.)" if len(cases) > 1 else ""
        said = "is no whole number" if str(first["check"]).startswith("coerce") else str(first["check"])
        value, rules = str(first["failure_case"]), columns[first["column"]]
        near = difflib.get_close_matches(value.split(";")[-1], rules.get("values", []), n=1)
        hint = f" Did you mean {near[0]!r}?" if near and near[0] != value else ""
        raise MedlibError(
            f"{path}, row {first['index'] + 2}, column {first['column']}: {value!r} {said}.{hint}{more}"
        ) from None


def _without_answers(path, table, description):
    """The table, refused where an item holds its own answer as a word: the prompt would give it away."""
    column = description.get("questions", {}).get("answer", "item")
    for number, (item, answer) in enumerate(zip(table["item"], table[column], strict=True), 2):
        if column != "item" and answer and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", item, re.IGNORECASE):
            raise MedlibError(f"{path}, row {number}, column {column}: {answer!r} stands in the item {item!r} already.")
    return table


def _read(path, columns):
    """The cells of a CSV file as text, refused unless every row has the columns of the description, in order."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, strict=True))
    except FileNotFoundError:
        raise MedlibError(f"There is no file {path}; a domain's table lies beside its TOML file.") from None
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise MedlibError(f"{path} is not CSV in UTF-8: {error}.") from None
    header = rows[0] if rows else []
    for number, name in enumerate(columns):
        if number >= len(header) or header[number] != name:
            found = repr(header[number]) if number < len(header) else "nothing"
            raise MedlibError(
                f"{path}, row 1, column {number + 1}: expected {name!r} and found {found}. The columns are "
                f"{', '.join(columns)}: item, those of the TOML file in its order, source, checked."
            )
    if len(rows) < 2:
        raise MedlibError(f"{path}, row 2, column item: the table has no rows.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            last = columns[min(len(row), len(columns)) - 1] if row else columns[0]
            raise MedlibError(
                f"{path}, row {number}, column {last}: the row has {len(row)} cells and the header {len(columns)}; "
                "a cell with a comma in it needs quotes."
            )
    return pd.DataFrame(rows[1:], columns=columns, dtype=str)


def _column(rules):
    """What pandera checks of a column; each check's error says what is wrong with a cell."""
    if "from" in rules:
        low, high = rules["from"], rules["to"]
        return pa.Column(int, pa.Check.in_range(low, high, error=f"is not in {low} .. {high}"), coerce=True)
    checks, values, empty = [], rules.get("values"), {""} if rules.get("optional") else set()

    def trimmed(cell):
        return all(part == part.strip() for part in cell.split(";"))

    if "about" in rules:  # a column of the description: a source may be a sentence
        checks.append(pa.Check(trimmed, element_wise=True, error="has a space at an end, or beside a ;"))
    if values is not None:

        def known(cell):
            parts = cell.split(";") if rules.get("many") else [cell]
            return cell in empty or (all(part in values for part in parts) and len(set(parts)) == len(parts))

        checks.append(pa.Check(known, element_wise=True, error="is not in the vocabulary, or says a value twice"))
    if "pattern" in rules:

        def shaped(cell):
            return cell in empty or re.fullmatch(rules["pattern"], cell) is not None

        checks.append(pa.Check(shaped, element_wise=True, error=f"does not have the form {rules['pattern']}"))
    if rules.get("unique"):
        repeated = "stands in an earlier row too"
        checks.append(pa.Check(lambda cells: ~cells.duplicated() | cells.isin(empty), error=repeated))
    if least := rules.get("at_least"):
        often = f"stands in fewer than {least} rows"
        enough = pa.Check(lambda c: (c.map(c.value_counts()) >= least) | c.isin(empty), error=often)
        checks.append(enough)
    return pa.Column(checks=checks)


def _rules(path, column, rules, columns):
    """Refuse rules that contradict themselves; a vocabulary that is named becomes the one meant."""
    where = f"{path}, [columns.{column}]"
    if rules.get("others", column) not in columns:
        raise MedlibError(f"{where}: others is {rules['others']!r}, which is no column.")
    if isinstance(rules.get("values"), str):  # the vocabulary of another column
        named = rules["values"]
        rules["values"] = columns.get(named, {}).get("values")
        if named == column or not isinstance(rules["values"], list):
            raise MedlibError(f"{where}: values is {named!r}, which is no column with a list of values before it.")
    if not all(isinstance(value, str) and value for value in rules.get("values", [])):
        raise MedlibError(f"{where}: values is {rules['values']!r}; give a list of texts.")
    if ("from" in rules) != ("to" in rules) or rules.get("from", 0) > rules.get("to", rules.get("from", 0)):
        raise MedlibError(f"{where}: a column of numbers has from and to, and from is not above to.")
    if "from" in rules and (more := sorted(set(rules) - {"about", "from", "to"})):
        raise MedlibError(f"{where}: a column of numbers has from and to, and not {', '.join(more)}.")
    if not {"from", "values", "pattern"} & set(rules):
        raise MedlibError(f"{where}: give values, a pattern, or from and to.")
    try:
        re.compile(rules.get("pattern", ""))
    except re.error as error:
        raise MedlibError(f"{where}: pattern {rules['pattern']!r} is no regular expression: {error}.") from None


def _keys(path, where, given, required, allowed):
    if not isinstance(given, dict):
        raise MedlibError(f"{path}, {where}: {given!r} is not a table.")
    for key in sorted(required - set(given)):
        raise MedlibError(f"{path}, {where}: {key!r} is missing.")
    for key in sorted(set(given) - required - allowed):
        raise MedlibError(f"{path}, {where}: {key!r} is not known. Allowed: {', '.join(sorted(required | allowed))}.")
    for key, value in given.items():
        if not isinstance(value, KINDS[key]) or (KINDS[key] is int and isinstance(value, bool)):
            raise MedlibError(f"{path}, {where}: {key} = {value!r} is not {WORDS[KINDS[key]]}.")


def _templates(path, where, table, columns=None):
    columns = table["columns"] if columns is None else columns
    if not table["templates"]:
        raise MedlibError(f"{path}, {where}: give at least one template.")
    for name, template in table["templates"].items():
        if not name or not isinstance(template, str):
            raise MedlibError(f"{path}, {where}: {name} = {template!r} is not a text with a name.")
        if template.count("{entity}") != 1 or template != template.strip():
            raise MedlibError(
                f"{path}, {where}: {name} = {template!r} must hold {{entity}} once, and no space at either end."
            )
        try:
            parts = list(string.Formatter().parse(template.replace("{entity}", "")))
        except ValueError as error:
            raise MedlibError(f"{path}, {where}: {name} = {template!r} has a stray brace: {error}.") from None
        gaps = [f"{gap}{how or ''}{form}" for _, gap, form, how in parts if gap is not None]
        if unknown := [gap for gap in gaps if gap not in columns]:
            raise MedlibError(
                f"{path}, {where}: {name} = {template!r} has a gap for {unknown[0]!r}, which is no column. "
                f"Choose entity or one of {', '.join(columns)}."
            )
