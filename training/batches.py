"""Batches: pictures with what is known of each patch, and many questions behind one image.

Image tokens come before the question, so all questions about a picture share them.  They stand one after the other in
one row, and the attention mask lets each see the image and itself alone, at the positions it would have by itself: the
logits are those of separate prompts, and the image goes through the language model once.
"""

from typing import NamedTuple

import numpy as np
import torch

from medlib.scans import items, volumes
from medlib.scans.model import END, IMAGE_TOKEN, PATCH, REPLY, TURN, refuse_image_token
from medlib.scans.slices import millimetres, sample

KINDS = list(items.QUESTIONS)
IGNORE = -100
COVERED = 0.15  # share of a patch from which on a lesion is said to be in it
LATER = 0.1  # weight of an answer's later tokens: they are easy, and their loss would hide the first one's


class Pictures(NamedTuple):
    """`pixels [scene, 3, row, column]`, as the processor gives them; `targets`: for each head of `Heads` the class
    `[scene]` or `[scene, patch]`, -100 where there is none, and for `patch_lesion` the share of a patch it covers.
    """

    pixels: torch.Tensor
    targets: dict


class Questions(NamedTuple):
    """Rows of tokens `ids [scene, token]` with `positions` and `mask [scene, 1, token, token]` (True: may see).

    `at [answer token, 2]`: scene and position that predicts `target [answer token]`, with `weight`; `first`: whether
    it is the answer's first; `item [answer token]`: its item, counted through the batch.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    at: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    first: torch.Tensor
    item: torch.Tensor


def pictures(scenes, patch=PATCH):
    """The pictures of scenes (dicts of items.scene) and what the heads should say of them."""
    drawn = [items.draw(scene) for scene in scenes]
    pixels = normalised(np.stack([picture for picture, _ in drawn]))
    targets = [_targets(scene, mask, patch) for scene, (_, mask) in zip(scenes, drawn, strict=True)]
    return Pictures(pixels, {name: torch.as_tensor(np.array([t[name] for t in targets])) for name in targets[0]})


def normalised(picture):
    """Pictures uint8 `[scene, row, column, 3]` as the processor gives them: float32 `[scene, 3, row, column]`."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(0, 3, 1, 2))).float().div(127.5).sub(1)


def _targets(scene, mask, patch):
    n = len(mask) // patch
    found = {
        "patch_lesion": mask.reshape(n, patch, n, patch).mean(axis=(1, 3)).ravel().astype(np.float32),
        "patch_polarity": np.full(n * n, IGNORE),
        "patch_lobe": np.full(n * n, IGNORE),
        "patch_side": np.full(n * n, IGNORE),
    }
    if scene["lesion"]:
        of_it = items.QUESTIONS["polarity"][1].index(scene["polarity"])
        found["patch_polarity"][found["patch_lesion"] > COVERED] = of_it
    if scene["kind"] != "other":
        volume, view = volumes.load(scene["template"]), items.view_of(scene)
        middle = slice(patch // 2, None, patch)
        found["patch_lobe"] = sample((volume.lobe, volume.origin), view, order=0)[middle, middle].ravel().astype(int)
        if scene["plane"] != "sagittal":
            across = millimetres(view)[0][middle, middle].ravel() * (-1 if scene["mirrored"] else 1)
            found["patch_side"] = np.where(np.abs(across) < 5, IGNORE, (across > 0).astype(int))
    known = {item["question_kind"]: item["answer"] for item in items.questions(scene)}
    if scene["kind"] != "other":
        known["modality"] = "MRI"
    answers = {kind: items.QUESTIONS[kind][1] for kind in KINDS}
    return found | {kind: answers[kind].index(known[kind]) if kind in known else IGNORE for kind in KINDS}


def questions(tokenizer, asked, n_image):
    """Pack items behind their images.

    `asked`: for each scene its items (dicts with `question` and `answer`); `n_image`: image tokens of a picture.
    """
    image = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    prefix = [*token_ids(tokenizer, TURN), *[image] * n_image, *token_ids(tokenizer, "\n")]
    rows, at, target, weight, first, item = [], [], [], [], [], []
    number = 0
    for scene, group in enumerate(asked):
        ids, positions, block = list(prefix), list(range(len(prefix))), [0] * len(prefix)
        for place, one in enumerate(group, 1):
            before = token_ids(tokenizer, refuse_image_token(one["question"]) + REPLY)
            answer = token_ids(tokenizer, one["answer"] + END)
            for step, token in enumerate(answer):
                at.append((scene, len(ids) + len(before) - 1 + step))
                target.append(token)
                first.append(step == 0)
                weight.append(1.0 if step == 0 else LATER)
                item.append(number)
            own = before + answer[:-1]
            ids += own
            positions += range(len(prefix), len(prefix) + len(own))
            block += [place] * len(own)
            number += 1
        rows.append((ids, positions, block))
    length = max(len(ids) for ids, _, _ in rows)
    filled = [
        [part + [fill] * (length - len(part)) for part, fill in zip(row, (0, 0, -1), strict=True)] for row in rows
    ]
    ids, positions, block = (torch.tensor(part) for part in zip(*filled, strict=True))
    same, before = block[:, :, None] == block[:, None], torch.ones(length, length, dtype=torch.bool).tril()
    mask = (same | (block[:, None] == 0)) & before  # filling sees itself: a row without anything to see is NaN
    answers = (torch.tensor(part) for part in (at, target, weight, first, item))
    return Questions(ids, positions, mask[:, None], *answers)


def answer_logits(hf, features, packed):
    """Logits at the places that predict answer tokens: `[answer token, vocabulary]`.

    `features [scene, patch, hidden]`: the projector's output, in place of the image tokens.
    """
    text = hf.model.language_model
    embedded = hf.get_input_embeddings()(packed.ids)
    places = packed.ids == hf.config.image_token_id
    embedded = embedded.masked_scatter(places[..., None], features.to(embedded.dtype))
    barred = torch.zeros(packed.mask.shape, dtype=embedded.dtype)
    barred.masked_fill_(~packed.mask, torch.finfo(embedded.dtype).min)
    states = text(
        inputs_embeds=embedded, attention_mask=barred, position_ids=packed.positions, use_cache=False
    ).last_hidden_state
    return hf.lm_head(states[packed.at[:, 0], packed.at[:, 1]])


def patch_features(hf, pixels):
    """The tower's features of each patch: `[scene, patch, hidden]`, as LLaVA hands them to its projector."""
    return hf.model.vision_tower(pixels).last_hidden_state[:, 1:]


def token_ids(tokenizer, text):
    """The ids of a piece of a prompt, without what the tokenizer would put around a text: a list."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]
