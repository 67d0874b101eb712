"""An overlay shows each token's value on its own pixels, and leaves bare what the model did not see."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from vision_models import picture, tiny

from medlib import MedlibError
from medlib.vision import image_prompt, overlay


def test_the_map_is_drawn_on_the_pixels_of_the_original():
    prompt = image_prompt(tiny(), picture(64, 128), "w1")
    heat = np.arange(16.0).reshape(4, 4)
    figure, ax = plt.subplots()
    drawn = overlay(ax, prompt, heat, limits=(0, 20))
    shown = drawn.get_array()
    assert shown.shape == (64, 128)
    assert shown.mask[:, :30].all()  # cropped
    assert shown[8, 40] == 0
    assert shown[24, 72] == 6
    assert drawn.get_clim() == (0, 20)
    assert overlay(ax, prompt, heat).get_clim() == (0, 15)
    with pytest.raises(MedlibError, match="a finite number for each"):
        overlay(ax, prompt, heat[:3])
    plt.close(figure)
