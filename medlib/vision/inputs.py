"""What goes into a model of image and text: one picture and one question, and which token is what.

The model's own processor makes the inputs, in its chat template where it has one.  Each image token knows its row and
column, and the view (view.py) maps these back to the pixels of the original picture, whatever was resized, cropped or
padded on the way.
"""

from dataclasses import dataclass

import numpy as np
import torch

from medlib.errors import MedlibError
from medlib.prompts import answer_token
from medlib.vision.pictures import read_picture
from medlib.vision.view import View, measure_view


@dataclass(frozen=True, repr=False)
class ImagePrompt:
    """A picture and a question as the model takes them.

    `inputs`: what the model's forward takes, a batch of one; `text`: the rendered prompt, the image as one
    placeholder; `image`, `words`: positions of image tokens (row by row of the grid) and of all others `[token]`;
    `view`: where the image tokens lie on `picture`, the original in RGB.
    """

    inputs: dict
    text: str
    picture: object
    image: np.ndarray
    words: np.ndarray
    view: View
    special: bool  # whether the tokenizer still has to put its special tokens around the text

    def __repr__(self):
        return f"ImagePrompt({self.text!r}, {self.length} tokens)"  # as messages show it

    @property
    def length(self):
        return self.inputs["input_ids"].shape[1]

    def check(self, model):
        """Refuse a text-only model, and another one than that whose processor made this."""
        ids = self.inputs["input_ids"][0].cpu().numpy()
        if not np.array_equal(np.flatnonzero(ids == image_token(model)), self.image):
            raise MedlibError(
                f"The prompt was made for another model than {model.name}: its image tokens are not this model's. "
                "Make it again with medlib.vision.image_prompt."
            )

    def on_grid(self, values):
        """Numbers of the image tokens, `[token]`, as a map `[row, column]`."""
        return np.asarray(values).reshape(self.view.grid)


def image_prompt(model, image, question, reply=""):
    """The inputs of a model for one picture and one question.

    >>> prompt = image_prompt(model, "chest.png", "Is there a pleural effusion?")
    >>> prompt.view.grid, len(prompt.image), prompt.length
    ((24, 24), 576, 594)

    `image`: what `read_picture` takes; `reply`: how the model's reply begins.  Without a chat template the text is the
    placeholder, a new line and the question.  Raises `MedlibError` for a text-only model, a missing processor, a
    question that holds the placeholder or is empty, a picture that cannot be read, image tokens that make no grid, and
    a prompt longer than the context.
    """
    processor = _processor(model)
    picture = read_picture(image)
    text, special = _render(model, processor, question, reply)
    inputs = _processed(model, processor, picture, text, special)
    ids, token = inputs["input_ids"][0].cpu().numpy(), image_token(model)
    found = np.flatnonzero(ids == token)
    if not len(found):
        raise MedlibError(f"The processor of {model.name} put no image token ({token}) into the prompt {text!r}.")
    if len(ids) > model.context:
        raise MedlibError(f"A prompt of {len(ids)} tokens does not fit {model.name}'s context of {model.context}.")
    size = picture.height, picture.width
    patch = getattr(getattr(model.hf.config, "vision_config", None), "patch_size", None)
    view = measure_view(lambda shown: pixels_of(model, shown)[0].float().cpu(), size, len(found), patch)
    return ImagePrompt(inputs, text, picture, found, np.flatnonzero(ids != token), view, special)


def pixels_of(model, picture):
    """A picture as the model's vision tower takes it: `[1, channel, height, width]`."""
    pixels = _processor(model).image_processor(images=[picture], return_tensors="pt")["pixel_values"]
    if pixels.ndim != 4 or len(pixels) != 1:
        raise MedlibError(
            f"The processor of {model.name} makes {tuple(pixels.shape)} of one picture; medlib needs one whole "
            "picture. Turn its tiling off (such as do_pan_and_scan=False)."
        )
    return pixels.to(model.device, model.dtype)


def with_picture(model, prompt, picture):
    """The inputs of a prompt with another picture of the same size in it: all but its pixels stays."""
    return prompt.inputs | {"pixel_values": pixels_of(model, picture)}


def answer_id(model, prompt, answer):
    """The id of the answer's first token where it stands, after the prompt; an id is taken as it is.

    >>> answer_id(model, prompt, "Yes")

    Raises `MedlibError` for an answer without a first token of its own, or one that the tokenizer does not know.
    """
    check_prompt(model, prompt)
    if isinstance(answer, int | np.integer) and not isinstance(answer, bool):
        if not 0 <= answer < model.vocabulary:
            raise MedlibError(f"There is no token {answer}; {model.name} has {model.vocabulary}.")
        return int(answer)
    token = answer_token(model, prompt, answer)
    if token == model.tokenizer.unk_token_id and answer.strip() != model.tokenizer.unk_token:
        raise MedlibError(f"The tokenizer of {model.name} does not know {answer!r}; give an answer that it can write.")
    return token


def check_prompt(model, prompt):
    """Refuse what is no `ImagePrompt`, a text-only model, and a prompt that another model's processor made."""
    image_token(model)
    if not isinstance(prompt, ImagePrompt):
        raise MedlibError(
            f"A {type(prompt).__name__} was given where a picture with a question is needed. Make one with "
            "medlib.vision.image_prompt(model, picture, question)."
        )
    prompt.check(model)


def image_token(model):
    """The id that stands for a piece of image in the model's inputs; `MedlibError` for a text-only model."""
    config = model.hf.config
    for name in ("image_token_id", "image_token_index"):
        if (token := getattr(config, name, None)) is not None:
            return token
    raise MedlibError(f"{model.name} reads text only; the techniques of medlib.vision need a model of image and text.")


def _processor(model):
    image_token(model)
    processor = model.processor
    if processor is None or getattr(processor, "image_processor", None) is None:
        raise MedlibError(
            f"{model.name} came without an image processor. Load it with medlib.load, or give Model(..., processor="
            "transformers.AutoProcessor.from_pretrained(...))."
        )
    return processor


def _render(model, processor, question, reply):
    """The prompt's text with one placeholder, and whether the tokenizer has to add its special tokens."""
    placeholder = processor.image_token
    if not isinstance(question, str) or not question.strip():
        raise MedlibError(f"The question is {question!r}; give a text.")
    if not isinstance(reply, str):
        raise MedlibError(f"The reply is {reply!r}; give the text that it begins with, or leave it out.")
    for mark in {placeholder, processor.tokenizer.convert_ids_to_tokens(image_token(model))}:
        if mark in question + reply:
            raise MedlibError(
                f"The question holds {mark!r}, which stands for the image. The prompt puts it in; leave it out."
            )
    if not getattr(processor, "chat_template", None):
        return f"{placeholder}\n{question}{reply}", True
    kinds = [[{"type": "image"}, {"type": "text", "text": question}], f"{placeholder}\n{question}"]
    for content in kinds:  # some templates take a list of parts, older ones a text with the placeholder in it
        try:
            turns = [{"role": "user", "content": content}]
            text = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # a template is a program of its own, and may raise anything
            failed = error
            continue
        if text.count(placeholder) == 1 and question.strip() in text:
            bos = processor.tokenizer.bos_token
            return text + reply, not (bos and text.startswith(bos))
        failed = f"it gave {text[-80:]!r}"
    raise MedlibError(f"The chat template of {model.name} takes no picture with a question ({failed}).")


@torch.no_grad()
def _processed(model, processor, picture, text, special):
    try:
        inputs = processor(images=[picture], text=text, return_tensors="pt", add_special_tokens=special)
    except Exception as error:
        raise MedlibError(f"The processor of {model.name} refused the picture or the prompt: {error}") from error
    inputs = {name: value.to(model.device) for name, value in inputs.items() if torch.is_tensor(value)}
    return inputs | {"pixel_values": pixels_of(model, picture)}
