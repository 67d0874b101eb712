"""What the two works claim, held against the recorded runs: a claim is data, and its rule a function of tables.

`claims.toml` says what is claimed, where the number comes from and the rule in words; text_rules.py and image_rules.py
have the rules, evidence.py what they read and say, costs.py what a model that did not run would cost, and pages.py the
page.  Nothing is measured here.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from medlib.book.claims import image_rules, text_rules
from medlib.book.claims.evidence import NOT_DECIDED, NOT_RUN, NotThere, Verdict
from medlib.errors import MedlibError
from medlib.models import zoo

RULES = {
    "A1": text_rules.first_half,
    "A2a": text_rules.line_somewhere,
    "A2b": text_rules.bent_in_the_middle,
    "A2c": text_rules.break_at_eighteen,
    "A3a": text_rules.ring,
    "A3b": text_rules.late_return,
    "A4": text_rules.labels_compared,
    "A5": text_rules.collapse,
    "A6": text_rules.kinds_together,
    "A7": text_rules.lesions_hurt_more,
    "A8": text_rules.dosage_is_found,
    "B1": image_rules.nearly_linear,
    "B2": image_rules.peak_of_linearity,
    "B3": image_rules.more_stretched,
    "B4": image_rules.fewer_dimensions,
    "B5": image_rules.picture_specific,
    "B6": image_rules.prompt_draws_together,
    "B7": image_rules.states_spread,
    "B8": image_rules.words_of_neurons,
    "B9": image_rules.map_points,
    "B10": image_rules.units_carry,
}


class Claim(NamedTuple):
    """A claim as claims.toml has it: its number, the work, and what is written there under its number.

    `of`, `against`: models of the zoo that the work says it of, and that it compares with; `chapters`: what its rule
    reads, the one of the figure first; `rule`: the words of each verdict.
    """

    key: str
    work: str
    title: str
    claim: str
    said: str
    of: tuple
    against: tuple
    chapters: tuple
    figure: str
    reads: str
    rule: dict
    caveat: str

    @property
    def asks(self):
        """The models of the zoo that it is asked of: all, or those that read images."""
        return [name for name in zoo.names() if self.work == "A" or "image" in zoo.entry(name)["modality"]]


@cache
def claims():
    """All claims in order.

    >>> [claim.key for claim in claims()][:2]
    ['A1', 'A2a']
    """
    told = tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8"))
    defaults = dict(of=(), against=(), caveat="")
    return [
        Claim(key, key[0], **{field: _frozen(value) for field, value in (defaults | entry).items()})
        for key, entry in told.items()
    ]


def _frozen(value):
    return tuple(value) if isinstance(value, list) else value


def judge(claim, book, model):
    """The `Verdict` of a claim on a model.

    >>> judge(claim, {"smollm2-135m": {"lesion": Run(table, {}), "knowledge": Run(other, {})}}, "smollm2-135m")

    `book`: model -> chapter -> `Run`.  "Not run" where a chapter that the rule reads has no recorded run, "not decided"
    with the reason where its table lacks what the rule reads.
    """
    missing = [chapter for chapter in claim.chapters if chapter not in book.get(model, {})]
    if missing:
        return Verdict(NOT_RUN, f"No recorded run of {' and '.join(missing)}.")
    named = {name: getattr(claim, name) for name in _KINDS.get(claim.key, ())}
    try:
        return RULES[claim.key](book, model, **named)
    except (NotThere, MedlibError) as reason:
        return Verdict(NOT_DECIDED, f"The run does not say: {str(reason).removesuffix('.')}.")


_KINDS = {"A5": ("of",), "A7": ("of", "against")}  # claims that are about a kind of model
