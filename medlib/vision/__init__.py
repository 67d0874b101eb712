"""Models of image and text: what their image tokens hold, and what of a picture an answer hangs on.

>>> from medlib import vision
>>> prompt = vision.image_prompt(model, "chest.png", "Is there a pleural effusion?")
>>> vision.grad_cam(model, prompt, "Yes", layer=15)

The sweeps of the text half (`medlib.lesion_sweep`, `patch_sweep`, `weight_saliency`, ...) take image prompts as they
take texts. Every technique here takes a model and an `ImagePrompt` and gives a table, or a map `[row, column]` over
the image tokens, which `prompt.view.to_picture` puts on the original pixels. Each file is one question: what goes in
(`inputs`, `pictures`, `view`), what the image tokens hold (`states`, `logit_lens`, `image_token_words`), what the
answer is read from (`grad_cam`, `multimodal_neurons`, `patches`), whether such a map is right (`maps`, `randomised`),
and how it looks (`overlay`).
"""

from medlib.vision.grad_cam import (
    attention_rollout,
    attention_rollouts,
    attention_slopes,
    attention_traces,
    eager,
    grad_cam,
)
from medlib.vision.image_token_words import image_token_words, neuron_strengths
from medlib.vision.inputs import ImagePrompt, image_prompt
from medlib.vision.logit_lens import logit_lens
from medlib.vision.maps import centre_map, curves, map_curves, overlap, pointing_score, random_map, score_maps
from medlib.vision.multimodal_neurons import ablate_units, multimodal_neurons, unit_map, unit_scores
from medlib.vision.overlay import overlay
from medlib.vision.patches import image_patch_sweep
from medlib.vision.pictures import read_picture
from medlib.vision.randomised import randomised
from medlib.vision.states import TokenStates, token_states
from medlib.vision.view import View

__all__ = [
    "ImagePrompt",
    "TokenStates",
    "View",
    "ablate_units",
    "attention_rollout",
    "attention_rollouts",
    "attention_slopes",
    "attention_traces",
    "centre_map",
    "curves",
    "eager",
    "grad_cam",
    "image_patch_sweep",
    "image_prompt",
    "image_token_words",
    "logit_lens",
    "map_curves",
    "multimodal_neurons",
    "neuron_strengths",
    "overlap",
    "overlay",
    "pointing_score",
    "random_map",
    "randomised",
    "read_picture",
    "score_maps",
    "token_states",
    "unit_map",
    "unit_scores",
]
