"""Models of image and text: what their image tokens hold, and what of a picture an answer hangs on.

>>> from medlib import vision
>>> prompt = vision.image_prompt(model, "chest.png", "Is there a pleural effusion?")
>>> vision.grad_cam(model, prompt, "Yes", layer=15)

Every technique takes a model and an `ImagePrompt` and gives a table, or a map `[row, column]` over the image tokens,
which `prompt.view.to_picture` puts on the original pixels.
"""

from medlib.vision.inputs import ImagePrompt, image_prompt
from medlib.vision.pictures import read_picture
from medlib.vision.view import View

__all__ = ["ImagePrompt", "View", "image_prompt", "read_picture"]
