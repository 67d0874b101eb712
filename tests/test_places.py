"""Places: one walk reads what three walks read."""

import numpy as np
import pytest

import medlib
from medlib import MedlibError, Prompt
from medlib.chapters.geometry import places

PROMPTS = [
    Prompt.fill("w1 {entity} w2 w3", "w7 w8 w9"),
    Prompt.fill("{entity} w2", "w5"),
    Prompt.fill("w1 w2 {entity}", "w7 w4"),
]


def test_each_place_has_the_states_that_activations_read_there(tiny):
    found = places.states(tiny, PROMPTS)
    assert list(found) == ["entity", "mean", "last"]
    for place, states in found.items():
        assert np.allclose(states, medlib.activations(tiny, PROMPTS, at=place), atol=1e-5)


def test_the_last_token_needs_no_entity(tiny):
    plain = [str(prompt) for prompt in PROMPTS]
    found = places.states(tiny, plain, at=("last",))["last"]
    assert np.allclose(found, medlib.activations(tiny, plain), atol=1e-5)


@pytest.mark.parametrize("at", [(), ("last", "middle")])
def test_unknown_places_are_refused(tiny, at):
    with pytest.raises(MedlibError, match="names no places"):
        places.states(tiny, PROMPTS, at=at)
