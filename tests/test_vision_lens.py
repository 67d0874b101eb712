"""The lens on image tokens reads the model's own tail, and after the last layer gives its own logits."""

import pytest
import torch
from vision_models import FAMILIES, picture, tiny

from medlib import MedlibError, hooks
from medlib.vision import image_prompt, logit_lens
from medlib.vision.walk import Walk, agree


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_last_layer_gives_the_models_own_logits_and_the_others_its_tails(family):
    model = tiny(family)
    prompt = image_prompt(model, picture(), "w1 w2")
    table = logit_lens(model, prompt, words=3)
    with hooks.capture(model) as states:
        logits = model.hf(**prompt.inputs).logits[0, prompt.image]
    assert table.attrs["no_op"] < 1e-5
    p, token = logits.softmax(-1).topk(3)
    last = table[table.layer == model.n_layers]
    assert last.token.tolist() == token.ravel().tolist()
    assert last.p.to_numpy() == pytest.approx(p.ravel().numpy(), rel=1e-4)
    norm, head = model.hf.model.language_model.norm, model.hf.lm_head
    early = head(norm(states[2][0, prompt.image]))
    assert table[(table.layer == 2) & (table["rank"] == 1)].token.tolist() == early.argmax(-1).tolist()
    assert table[table["rank"] == 1].groupby("layer").size().eq(16).all()
    assert last.query("row == 1 and column == 2").position.unique() == prompt.image[6]
    assert set(table.layer) == set(range(model.n_layers + 1))


def test_a_model_that_does_something_between_its_blocks_is_refused():
    model = tiny()
    prompt = image_prompt(model, picture(), "w1 w2")
    norm = model.hf.model.language_model.norm
    calls = []

    def strange(module, args, output):
        calls.append(1)
        return output + len(calls)

    norm.register_forward_hook(strange)
    with pytest.raises(MedlibError, match="differ from the model's own"):
        Walk(model, prompt.inputs)


def test_nan_and_states_that_there_are_not_are_refused():
    model = tiny()
    with pytest.raises(MedlibError, match="NaN"):
        agree(model, torch.full((1, 3), torch.nan), torch.ones(1, 3), "the logits")
    prompt = image_prompt(model, picture(), "w1 w2")
    with pytest.raises(MedlibError, match="no state 5"):
        logit_lens(model, prompt, layers=[5])
