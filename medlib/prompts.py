"""What goes into a model: prompts, clean/corrupt pairs and answers.

A prompt is a string; a `Prompt` is a string that also knows where its entity stands, so that positions can be
read off whatever the tokenizer.  An answer counts by its first token, tokenised where it stands: after the prompt.
"""

from dataclasses import dataclass


class Prompt(str):
    """A prompt that knows where its entity stands.

    >>> Prompt.fill("{entity} is used to treat", "Insulin").entity
    (0, 7)

    `entity` is the half-open character span `(start, end)` of the entity in the text.
    """

    entity: tuple[int, int]

    def __new__(cls, text, entity):
        prompt = super().__new__(cls, text)
        prompt.entity = entity
        return prompt

    @classmethod
    def fill(cls, template, entity):
        """Put an entity into a template that holds `{entity}` once."""
        before, after = template.split("{entity}")
        return cls(before + entity + after, (len(before), len(before) + len(entity)))


@dataclass(frozen=True)
class Pair:
    """A clean prompt, its corrupt twin, and the answers they call for.

    >>> Pair("Insulin is used to treat", "Aspirin is used to treat", " diabetes", " pain")

    `answer` is right for `clean` and `wrong` is right for `corrupt`; the first token of each is compared.
    """

    clean: str
    corrupt: str
    answer: str
    wrong: str
