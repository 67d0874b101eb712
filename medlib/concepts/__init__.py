"""The concepts a model is asked about: items with labels, the prompts they stand in, questions and pairs.

>>> from medlib import concepts
>>> concepts.load("drugs")[["item", "mechanism", "specialty"]].head(1)

A domain is two files side by side: `<domain>.csv`, one row per item with its labels, its source and what it was
checked against, and `<domain>.toml`, which names the columns with their fixed vocabularies, the templates and the
questions.  Adding a domain is adding two such files: here, or anywhere, since wherever a domain is asked for its name
may be the path of its TOML file.  `tables.py` reads and checks the files, `pairing.py` finds clean/corrupt couples.
"""

import difflib
from pathlib import Path

import numpy as np
import pandas as pd

from medlib.concepts import pairing
from medlib.concepts.tables import read_description, read_table
from medlib.errors import MedlibError
from medlib.prompts import Prompt

HERE = Path(__file__).parent


def domains():
    """The names of the domains that come with the library, in alphabetical order."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def medical():
    """The medical domains that come with the library: those that name a control, in alphabetical order."""
    return [name for name in domains() if "control" in _describe(name)[1]]


def control(domain):
    """The domain of the same form, without medicine, that a medical domain is held against.

    >>> concepts.control("age")
    'numbers'

    A TOML file names a domain of the library, or another TOML file in its folder.  Raises `MedlibError` for a domain
    that names none.
    """
    path, description = _describe(domain)
    if "control" not in description:
        raise MedlibError(f"The domain {domain} names no control. Domains that do: {', '.join(medical())}.")
    named = description["control"]
    named = str(path.with_name(named)) if named.endswith(".toml") else named
    if _describe(named)[0].resolve() == path.resolve():
        raise MedlibError(f"The domain {domain} is its own control: name another one.")
    return named


def controls(names):
    """Each of some domains, named in one text, with its control.

    >>> concepts.controls("age my/animals.toml")
    {'age': 'numbers', 'my/animals.toml': 'foods'}

    Raises `MedlibError` where none is named, and as `control` does.
    """
    if not names.split():
        raise MedlibError(f"No domain was named. Name some, with blanks between: {' '.join(medical())}.")
    return {name: control(name) for name in names.split()}


def load(domain):
    """The table of a domain: `item`, its labels, `source` and `checked`; one row per item.

    >>> concepts.load("age").query("sex == 'man' and age == 17").item
    >>> concepts.load("my/animals.toml")        # a domain of one's own; my/animals.csv lies beside it

    A cell with several values keeps them as text with ";" between; an optional cell without a value is "".  `attrs`
    holds the domain's `title`, `about` and `licence`.  Raises `MedlibError` for an unknown domain, and with file, row
    and column for a malformed table.
    """
    path, description = _describe(domain)
    table = read_table(path.with_suffix(".csv"), description)
    table.attrs = {key: description[key] for key in ("title", "about", "licence")}
    return table


def labels(domain):
    """The columns of a domain that label its items, each with the name of the column of further labels, or None.

    >>> concepts.labels("drugs")
    {'mechanism': None, 'specialty': 'other_specialties', 'indication': None}
    """
    columns = _describe(domain)[1]["columns"]
    return {name: rules.get("others") for name, rules in columns.items() if "values" in rules and not rules.get("many")}


def other_labels(domain, label, seed=0):
    """An item's other label in place of its primary one, drawn where it has several: [item], named by item.

    >>> drawn = concepts.other_labels("drugs", "specialty", seed=3)
    >>> frame["item"].map(drawn)

    A score that depends on which of several right labels was called the primary one changes with it.  An item without
    others keeps its own.  Raises `MedlibError` for a label of which the table holds no others.
    """
    able = {name: others for name, others in labels(domain).items() if others}
    if label not in able:
        raise MedlibError(f"{domain} holds no others of {label!r}. Labels with others: {', '.join(able) or 'none'}.")
    table = load(domain).set_index("item")
    generator = np.random.default_rng(seed)
    drawn = [
        generator.choice(others.split(";")) if others else own
        for own, others in zip(table[label], table[able[label]], strict=True)
    ]
    return pd.Series(drawn, table.index, name=label)


def templates(domain):
    """The templates of a domain: name -> sentence with `{entity}` once, the item at a different place in each.

    Other columns may have gaps in it too, such as `{stage}`.
    """
    return dict(_describe(domain)[1]["templates"])


def prompts(domain, template=None):
    """Every item in every template, or in one: columns `item`, `variant` (the template's name), `prompt`, labels.

    >>> concepts.prompts("drugs", "middle").prompt[0].entity
    (28, 37)

    `prompt` is a `medlib.Prompt`, which knows where the item stands.  Raises `MedlibError` for an unknown template.
    """
    known = templates(domain)
    if template is not None and template not in known:
        raise MedlibError(f"The domain {domain} has no template {template!r}. Choose one of {', '.join(known)}.")
    chosen = known if template is None else {template: known[template]}
    return _filled(load(domain).drop(columns=["source", "checked"]), chosen)


def questions(domain):
    """Sentences to be completed: `item`, `variant` (the template's name), `prompt`, `answer`, `also`, `cluster`.

    >>> concepts.questions("drugs").iloc[0][["prompt", "answer"]].tolist()
    ['Phenytoin is a medication used to treat', ' epilepsy']

    An answer begins with its space, unless it begins with a digit: there the prompt ends with the space, because
    today's tokenizers make that space a token of its own, with which all numbers would begin.  `also` is the set of
    other answers that could be called right.  `cluster` names what is resampled for an interval: the item, or what
    several items are about (the disease, where they are its stages).  `attrs["asks"]` says in words what is asked.
    Items without a clear-cut answer are left out.  Raises `MedlibError`
    for a domain that asks nothing.
    """
    told = _describe(domain)[1].get("questions")
    if told is None:
        able = [name for name in domains() if "questions" in _describe(name)[1]]
        raise MedlibError(f"The domain {domain} asks no questions. Domains that do: {', '.join(able)}.")
    table = load(domain)
    table = table[table[told["answer"]] != ""]
    if table.empty:
        raise MedlibError(f"The domain {domain} asks no questions: no row has an entry in column {told['answer']}.")
    also = table[told["also"]] if "also" in told else pd.Series("", table.index)
    known = table.assign(answer=" " + table[told["answer"]])
    known["cluster"] = known[_describe(domain)[1].get("cluster", "item")].astype(str)
    known["also"] = [{f" {other}" for other in cell.split(";") if other} for cell in also]
    filled = _filled(known, told["templates"])
    rows = [_space_before_digits(row) for row in filled.to_dict("records")]
    asked = pd.DataFrame(rows, columns=filled.columns)
    asked["prompt"] = pd.Series([row["prompt"] for row in rows], dtype=object)  # a column of text would be text alone
    asked = asked[["item", "variant", "prompt", "answer", "also", "cluster"]]
    asked.attrs["asks"] = told.get("asks", table.attrs["title"].lower())
    return asked


def pairs(domain, model):
    """Clean/corrupt pairs for patching, made for a model's tokens: `(list of medlib.Pair, table of candidates)`.

    >>> pairs, candidates = concepts.pairs("drugs", model)
    >>> candidates.query("kept").iloc[0][["item", "other"]], pairs[0]

    `model` is a `medlib.Model`, or a tokenizer alone, for prompts that go in raw.

    Pairs come in twos, item A against B and B against A, in one template and with as many tokens; the answers differ
    in the first token after the prompt, and neither would also be right for the other item.  In each template an item
    stands in one couple at most, and no couple stands in two templates.  Which items meet is fixed: the same table and
    tokens give the same pairs.  `candidates` has one row per couple that was tried, in both directions: `item`,
    `other`, `template`, `kept`, `reason` (why not; "" when kept); `other` is "" for an item that found no partner.  The
    n-th kept row belongs to the n-th pair.
    """
    return pairing.pair(questions(domain), model)


def couples(domain, model, n, seed=0):
    """The pairs (see `pairs`) of `n` couples drawn at random: `(list of medlib.Pair, table)`.

    The table has one row a pair: `item`, `other`, `template` and `couple`, the name that both its pairs share, which is
    the unit to resample.
    """
    made, candidates = pairs(domain, model)
    kept = candidates[candidates["kept"]].reset_index(drop=True).drop(columns=["kept", "reason"])
    kept["couple"] = [" / ".join(sorted(names)) for names in zip(kept["item"], kept["other"], strict=True)]
    names = kept["couple"].drop_duplicates()
    kept = kept[kept["couple"].isin(names.sample(min(n, len(names)), random_state=seed))]
    return [made[i] for i in kept.index], kept.reset_index(drop=True)


def _describe(domain):
    path = Path(domain)
    if path.suffix != ".toml":
        path = HERE / f"{domain}.toml"
        if domain not in domains():
            near = difflib.get_close_matches(str(domain), domains(), n=1)
            raise MedlibError(
                f"There is no domain {str(domain)!r}. {f'Did you mean {near[0]!r}? ' * len(near)}Choose one of "
                f"{', '.join(domains())}, or give the path of your own domain's TOML file; several with blanks between."
            )
    return path, read_description(path)


def _space_before_digits(row):
    """A question whose answer begins with a digit, with the space between them moved into the prompt."""
    if not row["answer"][1:2].isdigit():
        return row
    prompt = Prompt(f"{row['prompt']} ", row["prompt"].entity)
    return row | dict(prompt=prompt, answer=row["answer"][1:], also={other.removeprefix(" ") for other in row["also"]})


def _filled(table, chosen):
    """The rows of `table` once for each template, with columns `variant` and `prompt` after `item`."""
    parts = []
    for name, template in chosen.items():
        part = table.copy()
        part.insert(1, "variant", name)
        prompts = [_fill(template, row) for row in table.to_dict("records")]
        part.insert(2, "prompt", pd.Series(prompts, table.index, dtype=object))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _fill(template, row):
    """A row of a table in a template; an item that opens the sentence is written with a capital."""
    item = row["item"]
    if template.startswith("{entity}"):
        item = item[:1].upper() + item[1:]
    before, after = (part.format_map(row) for part in template.split("{entity}"))
    return Prompt.fill(before + "{entity}" + after, item)
