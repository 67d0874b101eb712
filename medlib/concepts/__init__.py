"""The concepts a model is asked about: items with labels, the prompts they stand in, questions and pairs.

>>> from medlib import concepts
>>> concepts.load("drugs")[["item", "mechanism", "specialty"]].head(1)

A domain is two files side by side: `<domain>.csv`, one row per item with its labels, its source and what it was
checked against, and `<domain>.toml`, which names the columns with their fixed vocabularies, the templates and the
questions.  Adding a domain is adding two such files: here, or anywhere, since wherever a domain is asked for its name
may be the path of its TOML file.  `tables.py` reads and checks the files, `pairing.py` finds clean/corrupt couples.
"""

from pathlib import Path

import pandas as pd

from medlib.concepts import pairing
from medlib.concepts.tables import read_description, read_table
from medlib.errors import MedlibError
from medlib.prompts import Prompt

HERE = Path(__file__).parent


def domains():
    """The names of the domains that come with the library, in alphabetical order."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


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


def templates(domain):
    """The templates of a domain: name -> sentence with `{entity}` once, the item at a different place in each."""
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
    """Sentences to be completed, and how: columns `item`, `variant` (the template's name), `prompt`, `answer`.

    >>> concepts.questions("capitals").iloc[0][["prompt", "answer"]].tolist()
    ['The capital of Denmark is', ' Copenhagen']

    An answer begins with its space.  Items without a clear-cut answer are left out.  Raises `MedlibError` for a domain
    that asks nothing.
    """
    return _asked(domain)[["item", "variant", "prompt", "answer"]]


def pairs(domain, tokenizer):
    """Clean/corrupt pairs for patching, made for a tokenizer: `(list of medlib.Pair, table of candidates)`.

    >>> pairs, candidates = concepts.pairs("drugs", model.tokenizer)
    >>> candidates.query("kept").iloc[0][["item", "other"]], pairs[0]

    Pairs come in twos, item A against B and B against A, in one template and with as many tokens; the answers differ
    in the first token after the prompt, and neither would also be right for the other item.  In each template an item
    stands in one couple at most, and no couple stands in two templates.  Which items meet is fixed: the same table and
    tokenizer give the same pairs.  `candidates` has one row per couple that was tried, in both directions: `item`,
    `other`, `template`, `kept`, `reason` (why not; "" when kept); `other` is "" for an item that found no partner.  The
    n-th kept row belongs to the n-th pair.
    """
    return pairing.pair(_asked(domain), tokenizer)


def couples(domain, tokenizer, n, seed=0):
    """The pairs of `n` couples drawn at random: `(list of medlib.Pair, table)`.

    The table has one row a pair: `item`, `other`, `template` and `couple`, the name that both its pairs share, which is
    the unit to resample.
    """
    made, candidates = pairs(domain, tokenizer)
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
            raise MedlibError(
                f"There is no domain {str(domain)!r}. Choose one of {', '.join(domains())}, or give the path of your "
                "own domain's TOML file."
            )
    return path, read_description(path)


def _asked(domain):
    """The questions with `also`: the other answers that would be right for the item, a set."""
    asked = _describe(domain)[1].get("questions")
    if asked is None:
        able = [name for name in domains() if "questions" in _describe(name)[1]]
        raise MedlibError(f"The domain {domain} asks no questions. Domains that do: {', '.join(able)}.")
    table = load(domain)
    table = table[table[asked["answer"]] != ""]
    also = table[asked["also"]] if "also" in asked else pd.Series("", table.index)
    known = pd.DataFrame({"item": table["item"], "answer": " " + table[asked["answer"]]})
    known["also"] = [{f" {other}" for other in cell.split(";") if other} for cell in also]
    return _filled(known, asked["templates"])


def _filled(table, chosen):
    """The rows of `table` once for each template, with columns `variant` and `prompt` after `item`."""
    parts = []
    for name, template in chosen.items():
        part = table.copy()
        part.insert(1, "variant", name)
        # An item that opens the sentence is written with a capital.
        items = [item[:1].upper() + item[1:] if template.startswith("{entity}") else item for item in table["item"]]
        part.insert(2, "prompt", pd.Series([Prompt.fill(template, item) for item in items], table.index, dtype=object))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
