"""What goes into a model: prompts, clean/corrupt pairs and answers.

A prompt is a string; a `Prompt` is a string that also knows where its entity stands, so that positions can be
read off whatever the tokenizer.  An answer counts by its first token, tokenised where it stands: after the prompt.
A model of chats may take each prompt as the beginning of its own reply; what its template puts in front of a reply is
the same text for all prompts, so that two of them still differ only where they differ as they are written.
Where a model reads pictures, a prompt may be a `medlib.vision.image_prompt` instead: a picture and a question.
"""

from dataclasses import dataclass

import torch

from medlib.errors import MedlibError

# The user's turn before a reply that begins with the prompt. It names no item: with the sentence in it, the item would
# stand in the input twice, and a patch of one would leave the other.
REQUEST = "Complete the sentence."
_REPLY = "Insulin is used to treat"
TOKEN_KINDS = ("first", "template", "image", "own")


class Prompt(str):
    """A prompt that knows where its entity stands.

    >>> Prompt.fill("{entity} is used to treat", "Insulin").entity
    (0, 7)

    `entity` is the half-open character span `(start, end)` of the entity in the text.
    """

    entity: tuple[int, int]

    def __new__(cls, text, entity):
        start, end = entity
        if not 0 <= start < end <= len(text):
            raise MedlibError(f"The span {entity} is no part of the {len(text)} characters of {_shown(text)}.")
        prompt = super().__new__(cls, text)
        prompt.entity = entity
        return prompt

    def __getnewargs__(self):
        return str(self), self.entity  # so that a prompt can be copied and pickled

    @classmethod
    def fill(cls, template, entity):
        """Put an entity into a template that holds `{entity}` once."""
        if template.count("{entity}") != 1:
            raise MedlibError(f"The template {_shown(template)} must hold {{entity}} once.")
        before, after = template.split("{entity}")
        return cls(before + entity + after, (len(before), len(before) + len(entity)))


@dataclass(frozen=True)
class Pair:
    """A clean prompt, its corrupt twin, and the answers they call for.

    >>> Pair("Metformin is used to treat", "Aspirin is used to treat", " diabetes", " pain")

    `answer` is right for `clean` and `wrong` is right for `corrupt`; the first token of each is compared.
    """

    clean: str
    corrupt: str
    answer: str
    wrong: str


class Encoded(list):
    """The token ids of one prompt as the model takes them and, in `beside`, what goes with them: the picture's part.

    `beside`: {name of an input: a tensor, a batch of one}, empty for a text.
    """

    def __init__(self, ids, beside=()):
        super().__init__(ids)
        self.beside = dict(beside)


def pictured(prompt):
    """Whether a prompt is a picture with a question (`medlib.vision.ImagePrompt`)."""
    return hasattr(prompt, "picture")


def check(prompts):
    """Refuse anything but a non-empty list of non-empty texts, or of pictures with questions; returns it as a list."""
    several = not isinstance(prompts, str) and hasattr(prompts, "__iter__")
    prompts = list(prompts) if several else prompts
    if several and prompts and all(map(pictured, prompts)):
        return prompts
    if not several or not all(isinstance(prompt, str) for prompt in prompts):
        raise MedlibError(
            f"prompts must be a list of texts, and {_shown(prompts)} is not. Put a single prompt in a list."
        )
    if not prompts:
        raise MedlibError("The list of prompts is empty; give at least one prompt.")
    if empty := [i for i, prompt in enumerate(prompts) if not prompt.strip()]:
        raise MedlibError(f"Prompt {empty[0]} is empty; each prompt needs at least one word.")
    for number, prompt in enumerate(prompts):
        if not prompt.isascii() and prompt.encode("utf-8", "replace").decode() != prompt:
            raise MedlibError(f"Prompt {number} holds half a character (a lone surrogate); give whole Unicode text.")
    return prompts


def chat_prefix(tokenizer, name):
    """What a tokenizer's chat template puts in front of a reply: the text that goes before every prompt.

    >>> chat_prefix(model.tokenizer, model.name)

    It holds the template's own system prompt, if there is one, and the turn in which the user asks `REQUEST`.  Raises
    `MedlibError` where there is no template, or where it refuses or changes a reply that is only begun; `name` is the
    model's, for the message.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise MedlibError(f"The tokenizer of {name} has no chat template; leave chat out.")
    turns = [{"role": "user", "content": REQUEST}, {"role": "assistant", "content": _REPLY}]
    try:
        rendered = tokenizer.apply_chat_template(turns, tokenize=False, continue_final_message=True)
    except Exception as error:  # a template is a program of its own, and may raise anything
        raise MedlibError(
            f"The chat template of {name} takes no reply that is only begun ({str(error).partition(chr(10))[0]}). "
            "Give chat=False."
        ) from error
    if not rendered.endswith(_REPLY):
        raise MedlibError(
            f"The chat template of {name} does not leave a reply as it is: {_REPLY!r} became {rendered[-80:]!r}, so "
            "entities could not be found in it. Give chat=False."
        )
    return rendered.removesuffix(_REPLY)


def tokenised(model, text, offsets=False):
    """The token ids of a text as the model takes it, with all that goes in front: a list.

    >>> tokenised(model, "Insulin is used to treat")

    In front stand the tokenizer's special tokens or, where the model is used with its chat template, that template's
    text.  With `offsets` the half-open spans of characters that the tokens have in `text` itself; those of a template
    lie before its beginning, so they overlap nothing in it.
    """
    before = getattr(model, "chat_prefix", None)  # a tokenizer alone has none: pairs can be made without a model
    asked = {"return_offsets_mapping": True} if offsets else {}
    if before is not None:
        text, asked["add_special_tokens"] = before + text, False  # a template writes the special tokens it wants
    found = model.tokenizer(text, **asked)
    if not offsets:
        return found["input_ids"]
    shift = len(before or "")
    return [(start - shift, end - shift) for start, end in found["offset_mapping"]]


def tokens_in_front(model, ids):
    """How many of a text's tokens, its `ids` as `tokenised` gives them, belong to a chat template: 0 for a raw text."""
    own = [] if model.chat_prefix is None else tokenised(model, "")
    return next((place for place, token in enumerate(own) if ids[place] != token), len(own))


def token_kinds(model, ids):
    """What each token of an encoded prompt is, as its place in `TOKEN_KINDS`: `[token]`.

    The first of all is a kind of its own; "template" was put in front by a chat template, "image" is a piece of a
    picture, "own" are all others.
    """
    config = model.hf.config
    image = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
    kinds = torch.tensor([TOKEN_KINDS.index("image" if token == image else "own") for token in ids])
    kinds[: tokens_in_front(model, ids)] = TOKEN_KINDS.index("template")
    kinds[0] = TOKEN_KINDS.index("first")
    return kinds


def encode(model, prompts):
    """Token ids of each checked prompt as the model takes them (see `tokenised`): a list of `Encoded`."""
    ids = [_encoded(model, prompt) for prompt in prompts]
    for prompt, tokens in zip(prompts, ids, strict=True):
        text = prompt.text if pictured(prompt) else prompt
        if tokens[-1] in model.tokenizer.all_special_ids and not text.endswith(model.tokenizer.decode(tokens[-1:])):
            raise MedlibError(
                f"{model.name}'s tokenizer ends every text with a special token, so the last token is none of the "
                "prompt's. Turn that off (add_eos_token=False)."
            )
        if max(tokens) >= model.vocabulary:
            raise MedlibError(
                f"The tokenizer gives token {max(tokens)} and {model.name} has {model.vocabulary}: they do not fit."
            )
        if len(tokens) > model.context:
            raise MedlibError(
                f"A prompt of {len(tokens)} tokens does not fit {model.name}'s context of {model.context}: "
                f"{_shown(text)}. Shorten it."
            )
    return ids


def _encoded(model, prompt):
    if not pictured(prompt):
        return Encoded(tokenised(model, prompt))
    prompt.check(model)
    beside = {name: value for name, value in prompt.inputs.items() if name not in ("input_ids", "attention_mask")}
    return Encoded(prompt.inputs["input_ids"][0].tolist(), beside)


def stacked(encoded):
    """Encoded prompts as one batch, shorter ones filled up on the right: {name of an input: tensor, row first}.

    >>> Replay(model, stacked(encode(model, prompts)))

    Under causal attention no token sees what comes after it, so the filling needs no mask and changes no number.
    """
    width = max(map(len, encoded))
    batch = {"input_ids": torch.tensor([ids + ids[-1:] * (width - len(ids)) for ids in encoded])}
    for name in encoded[0].beside:
        rows = [
            torch.nn.functional.pad(value, (0, width - len(ids))) if value.shape == (1, len(ids)) else value
            for ids, value in ((ids, ids.beside[name]) for ids in encoded)
        ]
        batch[name] = torch.cat(rows)
    return batch


def answer_token(model, prompt, answer):
    """The id of the answer's first token, tokenised where it stands: after the prompt."""
    if not isinstance(answer, str) or not answer.strip():
        raise MedlibError(f"The answer to {_shown(prompt)} is {answer!r}; give a text, with its leading space.")
    before, after = (_written(model, prompt, more) for more in ("", answer))
    if after[: len(before)] != before or len(after) == len(before):
        raise MedlibError(
            f"The answer {answer!r} melts into the last token of {_shown(prompt)}, so it has no first token of its "
            "own. Begin the answer with a space, and end the prompt without one. A model whose tokenizer joins a space "
            "and a digit cannot be asked for numbers."
        )
    return after[len(before)]


def _written(model, prompt, more):
    """The token ids of a prompt with more text after it; a picture is one placeholder here."""
    if pictured(prompt):
        return model.tokenizer(prompt.text + more, add_special_tokens=prompt.special)["input_ids"]
    return tokenised(model, prompt + more)


def answer_tokens(model, prompts, answers):
    """The first token of each answer, `[prompt]`; as many answers as prompts are needed."""
    if isinstance(answers, str) or not hasattr(answers, "__iter__") or len(answers := list(answers)) != len(prompts):
        raise MedlibError(f"{len(prompts)} prompts need {len(prompts)} answers, and {_shown(answers)} was given.")
    return torch.tensor([answer_token(model, p, a) for p, a in zip(prompts, answers, strict=True)])


def batches(ids, size, waste=0.25):
    """Prompts of like length together: yields `(members, inputs, last [row])`, the inputs as `stacked` gives them.

    `members` are the prompts' indices, `last` the position of each one's last token, `size(length)` the most rows of a
    length that fit.  Shorter prompts are filled up by at most a share `waste` of the batch.
    """
    by_length = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    members, used = [], 0
    for index in by_length:
        length = len(ids[index])
        full = (len(members) + 1) * length * (1 - waste) > used + length or len(members) >= size(length)
        if members and full:
            yield members, *_batch(ids, members)
            members, used = [], 0
        members.append(index)
        used += length
    yield members, *_batch(ids, members)


def together(ids, size, waste=0.25):
    """`batches`, in lists of those that fit in memory at once: one walk up the layers serves a list.

    >>> for group in together(ids, size):
    ...     in_step(walk(batch) for batch in group)
    """
    group, used = [], 0.0
    for batch in batches(ids, size, waste):
        members, inputs, _ = batch
        share = len(members) / max(1, size(inputs["input_ids"].shape[1]))
        if group and used + share > 1:
            yield group
            group, used = [], 0.0
        group.append(batch)
        used += share
    yield group


def _batch(ids, members):
    return stacked([ids[i] for i in members]), torch.tensor([len(ids[i]) - 1 for i in members])


def _shown(value, width=80):
    value = value.text if pictured(value) else value
    text = repr(str(value) if isinstance(value, str) else value)
    return text if len(text) <= width else text[: width - 1] + "…"
