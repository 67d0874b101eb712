"""The four sweeps equal the plain hook loop, find what was planted, and refuse what they cannot do."""

import numpy as np
import pytest
import torch
from conftest import BY_HEAD, tiny_hf, tiny_model, word_tokenizer
from tokenizers import processors

import medlib
import medlib.replay
from medlib import Pair, Prompt, hooks
from medlib.model import COMPONENTS
from medlib.saliency import weight_matrices

PROMPTS = ["w1 w2 w3 w4 w5", "w9 w8 w7", "w20 w21 w22 w23 w24", "w30"]
ANSWERS = [" w6", " w6", " w25", " w31"]
PAIRS = [
    Pair("w1 w2 w3 w4 w5 w6", "w1 w2 w9 w4 w5 w6", " w10", " w11"),
    Pair("w1 w2 w3 w4", "w7 w2 w3 w4", " w10", " w12"),
    Pair("w5 w6 w7 w8 w1 w2", "w5 w6 w7 w8 w1 w3", " w13", " w14"),
]


def run(model, prompt):
    return model.hf(**model.tokenizer(prompt, return_tensors="pt")).logits[0, -1]


@torch.no_grad()
def test_activations_are_the_residual_stream_at_each_prompts_last_token(family):
    model = tiny_model(family)
    states = medlib.activations(model, PROMPTS)
    assert states.shape == (model.n_layers + 1, len(PROMPTS), model.hidden_size) and states.dtype == np.float32
    for i, prompt in enumerate(PROMPTS):
        with hooks.capture(model) as own:
            run(model, prompt)
        for layer in range(model.n_layers + 1):
            np.testing.assert_allclose(states[layer, i], own[layer][0, -1], rtol=2e-4, atol=2e-4)


@torch.no_grad()
def test_entity_and_mean_are_read_at_the_entitys_tokens():
    model = medlib.Model(tiny_hf("llama"), word_tokenizer(bos=True))
    prompt = Prompt.fill("w1 {entity} w7", "w3 w4 w5")
    with hooks.capture(model, [2]) as own:
        run(model, prompt)
    np.testing.assert_allclose(medlib.activations(model, [prompt], at="entity")[2, 0], own[2][0, 4], atol=1e-5)
    np.testing.assert_allclose(medlib.activations(model, [prompt], at="mean")[2, 0], own[2][0, 2:5].mean(0), atol=1e-5)


@torch.no_grad()
def test_a_lesion_sweep_equals_skipping_each_block(family):
    model = tiny_model(family)
    table = medlib.lesion_sweep(model, PROMPTS, ANSWERS).set_index(["prompt", "layer"])
    for i, prompt in enumerate(PROMPTS):
        intact = run(model, prompt).log_softmax(-1)
        answer = model.tokenizer(ANSWERS[i])["input_ids"][0]
        for layer in range(1, model.n_layers + 1):
            with hooks.skip(model, layer):
                lesioned = run(model, prompt).log_softmax(-1)
            row = table.loc[i, layer]
            assert row.kl == pytest.approx(float((intact.exp() * (intact - lesioned)).sum()), abs=1e-4, rel=1e-4)
            assert row.logprob_drop == pytest.approx(float(intact[answer] - lesioned[answer]), abs=1e-4, rel=1e-4)
            assert row.top1_same == (intact.argmax() == lesioned.argmax())


@torch.no_grad()
@pytest.mark.parametrize("component", COMPONENTS)
def test_a_patch_sweep_equals_replacing_each_state(family, component):
    model = tiny_model(family)
    for direction in ("denoise", "noise"):
        table = medlib.patch_sweep(model, PAIRS, direction, component).set_index(["pair", "layer", "position"])
        assert table.attrs["positions_shared"] == (family not in BY_HEAD)
        for i, pair in enumerate(PAIRS):
            a, b = (model.tokenizer(word)["input_ids"][0] for word in (pair.answer, pair.wrong))
            trunk, donor = (pair.corrupt, pair.clean) if direction == "denoise" else (pair.clean, pair.corrupt)
            with hooks.capture(model, component=component) as other:
                run(model, donor)
            largest = float(run(model, trunk).abs().max())
            for layer in range(1, model.n_layers + 1):
                for position in range(len(trunk.split())):

                    def patch(state, layer=layer, position=position, other=other):
                        state = state.clone()
                        state[..., position, :] = other[layer][..., position, :]  # one row; a part may leave rows out
                        return state

                    with hooks.replace(model, layer, patch, component):
                        logits = run(model, trunk)
                    row = table.loc[i, layer, position]
                    assert abs(row.logit_diff - float(logits[a] - logits[b])) <= 1e-4 * largest
            clean, corrupt = run(model, pair.clean), run(model, pair.corrupt)
            assert row.clean_diff == pytest.approx(float(clean[a] - clean[b]), abs=1e-4 * largest)
            assert row.corrupt_diff == pytest.approx(float(corrupt[a] - corrupt[b]), abs=1e-4 * largest)
            assert row.recovered == pytest.approx(
                (row.logit_diff - row.corrupt_diff) / (row.clean_diff - row.corrupt_diff)
            )


def test_patching_the_last_layers_last_token_recovers_everything_and_its_other_tokens_nothing(tiny):
    table = medlib.patch_sweep(tiny, PAIRS[:1])
    top = table[table.layer == tiny.n_layers].set_index("position").recovered
    assert top[5] == pytest.approx(1, abs=1e-4) and (top[:4].abs() < 1e-4).all()


def test_a_site_before_the_first_difference_changes_exactly_nothing(tiny):
    table = medlib.patch_sweep(tiny, PAIRS[2:])
    early = table[table.position < 5]
    assert (early.logit_diff == early.corrupt_diff).all() and (early.recovered == 0).all()


def test_patching_both_parts_of_the_one_block_that_does_something_names_the_part(planted):
    """The subject's token reaches the last one by attention alone, and is lost to a patch of any other block."""
    pair = Pair("w1 w2 w3 w4", "w1 w9 w3 w4", " w10", " w11")
    with torch.no_grad():
        planted.blocks[2].mlp.down_proj.weight.zero_()
    tables = {
        component: medlib.patch_sweep(planted, [pair], component=component).pivot(
            index="layer", columns="position", values="recovered"
        )
        for component in ("attention", "mlp")
    }
    assert tables["attention"].loc[3, 3] == pytest.approx(1, abs=1e-3)
    tables["attention"].loc[3, 3] = 0
    assert all((table.abs() < 1e-3).all(axis=None) for table in tables.values())


def test_patching_falls_back_to_whole_rows_where_positions_cannot_be_shared(tiny, monkeypatch):
    shared = medlib.patch_sweep(tiny, PAIRS)
    monkeypatch.setattr("medlib.replay.Replay.shares_positions", lambda self: False)
    whole = medlib.patch_sweep(tiny, PAIRS)
    assert not whole.attrs["positions_shared"]
    np.testing.assert_allclose(shared.logit_diff, whole.logit_diff, atol=1e-4)


def test_patching_falls_back_to_whole_rows_where_shared_positions_give_other_logits(tiny, monkeypatch):
    whole = medlib.patch_sweep(tiny, PAIRS)
    block_from = medlib.replay.Replay.block_from
    monkeypatch.setattr("medlib.replay.Replay.block_from", lambda *args: block_from(*args) * 1.1)
    fallen_back = medlib.patch_sweep(tiny, PAIRS)
    assert not fallen_back.attrs["positions_shared"]
    np.testing.assert_allclose(fallen_back.logit_diff, whole.logit_diff, atol=1e-4)


def test_saliency_equals_a_backward_pass_through_the_whole_model(family):
    model = tiny_model(family)
    for kind in ("grad", "weight_grad"):
        table = medlib.weight_saliency(model, PROMPTS, ANSWERS, kind=kind).set_index(["layer", "module"]).saliency
        expected = {}
        for prompt, answer in zip(PROMPTS, ANSWERS, strict=True):
            model.hf.zero_grad()
            run(model, prompt).log_softmax(-1)[model.tokenizer(answer)["input_ids"][0]].backward()
            for layer, block in enumerate(model.blocks, 1):
                total = count = 0
                for name, weight in weight_matrices(block).items():
                    grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                    size = (grad if kind == "grad" else grad * weight.detach()).abs()
                    expected.setdefault((layer, name), []).append(float(size.mean()))
                    total, count = total + float(size.sum()), count + size.numel()
                expected.setdefault((layer, "block"), []).append(total / count)
        assert set(table.index) == set(expected)
        for key, values in expected.items():
            assert table[key] == pytest.approx(np.mean(values), rel=1e-3, abs=1e-9), key


def test_saliency_leaves_no_gradient_and_no_flag_behind(tiny):
    flags = [p.requires_grad for p in tiny.hf.parameters()]
    medlib.weight_saliency(tiny, PROMPTS, ANSWERS)
    assert [p.requires_grad for p in tiny.hf.parameters()] == flags
    assert all(p.grad is None for p in tiny.hf.parameters())


def test_the_padding_side_of_the_tokenizer_changes_nothing(tiny):
    tables = []
    for side in ("left", "right"):
        tiny.tokenizer.padding_side = side
        tables.append(medlib.lesion_sweep(tiny, PROMPTS, ANSWERS))
    assert tables[0].equals(tables[1])


def test_a_small_memory_budget_changes_the_chunks_and_not_the_numbers():
    large, small = tiny_model(), tiny_model(memory="16KiB")
    for sweep in (
        lambda m: medlib.lesion_sweep(m, PROMPTS, ANSWERS).kl,
        lambda m: medlib.patch_sweep(m, PAIRS).logit_diff,
        lambda m: medlib.weight_saliency(m, PROMPTS, ANSWERS).saliency,
        lambda m: medlib.activations(m, PROMPTS).ravel(),
    ):
        np.testing.assert_allclose(sweep(large), sweep(small), rtol=1e-4, atol=1e-5)


def test_half_precision_runs_and_stays_near_single_precision():
    model = tiny_model()
    single = medlib.lesion_sweep(model, PROMPTS).kl
    model.hf.to(torch.bfloat16)
    half = medlib.lesion_sweep(model, PROMPTS).kl
    assert np.corrcoef(single, half)[0, 1] > 0.99


# --- planted signals --------------------------------------------------------------------------------------------------


@pytest.fixture
def planted():
    """A model in which only block 3 writes to the residual stream: every other block's outputs are zero."""
    model = tiny_model()
    with torch.no_grad():
        for layer, block in enumerate(model.blocks, 1):
            if layer != 3:
                block.self_attn.o_proj.weight.zero_()
                block.mlp.down_proj.weight.zero_()
    return model


def test_a_lesion_names_the_one_block_that_does_something(planted):
    kl = medlib.lesion_sweep(planted, PROMPTS).groupby("layer").kl.mean()
    assert kl[3] > 0.1 and (kl.drop(3).abs() < 1e-6).all()


@torch.no_grad()
def test_a_lesion_sweep_inside_a_hook_sees_the_hooked_model(tiny):
    """Also where the hook sits on the last block, behind which the read-out hands states over."""
    for layer in (2, tiny.n_layers):
        with hooks.only(tiny, layer):
            kl = medlib.lesion_sweep(tiny, PROMPTS).groupby("layer").kl.mean()
        assert kl[layer] > 0.1 and (kl.drop(layer).abs() < 1e-6).all()


def test_patching_sees_the_answer_move_to_the_last_token_at_the_one_block_that_does_something(planted):
    pair = Pair("w1 w2 w3 w4", "w1 w9 w3 w4", " w10", " w11")
    recovered = medlib.patch_sweep(planted, [pair]).pivot(index="layer", columns="position", values="recovered")
    assert np.allclose(recovered.loc[[1, 2], 1], 1, atol=1e-4) and np.allclose(recovered.loc[[3, 4], 1], 0, atol=1e-4)
    assert np.allclose(recovered.loc[[1, 2], 3], 0, atol=1e-4) and np.allclose(recovered.loc[[3, 4], 3], 1, atol=1e-4)


def test_saliency_is_zero_in_weights_that_cannot_reach_the_answer(planted):
    saliency = medlib.weight_saliency(planted, PROMPTS, ANSWERS).set_index(["layer", "module"]).saliency
    assert saliency[4, "q_proj"] == 0 and saliency[4, "gate_proj"] == 0  # their outputs meet zero weights
    assert saliency[3, "q_proj"] > 0 and saliency[3, "down_proj"] > 0


# --- the no-op check --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sweep",
    [
        lambda m: medlib.activations(m, PROMPTS),
        lambda m: medlib.lesion_sweep(m, PROMPTS),
        lambda m: medlib.patch_sweep(m, PAIRS),
        lambda m: medlib.weight_saliency(m, PROMPTS, ANSWERS),
    ],
)
def test_a_model_that_acts_between_its_blocks_is_refused(tiny, sweep):
    """A decoder that adds something to the state between blocks is not a list of blocks."""
    decoder, forward = tiny.hf.get_decoder(), tiny.hf.get_decoder().forward

    def meddle(*args, **kwargs):
        handle = tiny.blocks[1].register_forward_pre_hook(lambda module, args: (args[0] * 1.5, *args[1:]))
        try:
            return forward(*args, **kwargs)
        finally:
            handle.remove()

    decoder.forward = meddle
    with pytest.raises(medlib.MedlibError, match="changes the hidden state between its blocks"):
        sweep(tiny)


def test_states_that_are_not_numbers_are_refused(tiny):
    with torch.no_grad():
        tiny.blocks[2].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(medlib.MedlibError, match="NaN"):
        medlib.lesion_sweep(tiny, PROMPTS)


# --- what a user can get wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: medlib.activations(m, []), "empty"),
        (lambda m: medlib.activations(m, "w1 w2"), "list"),
        (lambda m: medlib.activations(m, [3]), "list of texts"),
        (lambda m: medlib.activations(m, ["w1", "  "]), "Prompt 1 is empty"),
        (lambda m: medlib.activations(m, ["w1"], at="middle"), '"last", "entity" or "mean"'),
        (lambda m: medlib.activations(m, ["w1"], at="entity"), "where its entity stands"),
        (lambda m: medlib.activations(m, ["w1 " * 65]), "context of 64"),
        (lambda m: medlib.lesion_sweep(m, ["w1"], [" w2", " w3"]), "1 prompts need 1 answers"),
        (lambda m: medlib.lesion_sweep(m, ["w1"], [""]), "answer"),
        (lambda m: medlib.lesion_sweep(m, ["w1"], "w2"), "answers"),
        (lambda m: medlib.weight_saliency(m, ["w1"], [" w2"], kind="signed"), '"weight_grad"'),
        (lambda m: medlib.patch_sweep(m, []), "empty"),
        (lambda m: medlib.patch_sweep(m, PAIRS, direction="up"), "denoise, noise"),
        (lambda m: medlib.patch_sweep(m, PAIRS, component="head"), "residual, attention, mlp"),
        (lambda m: medlib.patch_sweep(m, [Pair("w1 w2", "w1", " w3", " w4")]), "clean prompt has 2 tokens"),
        (lambda m: medlib.patch_sweep(m, [Pair("w1 w2", "w1 w5", " w3 w1", " w3 w2")]), "same token"),
        (lambda m: medlib.patch_sweep(m, PAIRS[0]), "Put a single pair in a list"),
        (lambda m: medlib.patch_sweep(m, ["w1"]), "list of medlib.Pair"),
        (lambda m: medlib.patch_sweep(m, [Pair("w1 w2", "w1 w2", " w3", " w4")]), "the same"),
        (lambda m: medlib.lesion_sweep(m, None), "list of texts"),
        (lambda m: medlib.lesion_sweep(m, ["w1", "\ud83d"]), "half a character"),
        (lambda m: medlib.weight_saliency(m, ["w1"], None), "need 1 answers"),
        (lambda m: Prompt("w1", (0, 5)), "span"),
        (lambda m: Prompt.fill("w1", "w2"), "once"),
        (lambda m: medlib.Model(m.hf, m.tokenizer, memory="much"), "512MiB"),
        (lambda m: medlib.Model(m.hf, m.tokenizer, memory=float("inf")), "512MiB"),
    ],
)
def test_a_users_mistake_gets_a_message_that_says_what_to_do(tiny, call, message):
    with pytest.raises(medlib.MedlibError, match=message):
        call(tiny)


def test_prompts_may_come_from_a_generator(tiny):
    given = medlib.lesion_sweep(tiny, (prompt for prompt in PROMPTS), (answer for answer in ANSWERS))
    assert given.equals(medlib.lesion_sweep(tiny, PROMPTS, ANSWERS))


def test_a_tokenizer_that_ends_texts_with_a_special_token_is_refused(tiny):
    backend = tiny.tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(single="$A <bos>", special_tokens=[("<bos>", 1)])
    with pytest.raises(medlib.MedlibError, match="special token"):
        medlib.lesion_sweep(tiny, PROMPTS)


def test_an_encoder_decoder_is_refused():
    import transformers as tf

    sizes = dict(vocab_size=64, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2)
    bart = tf.BartForConditionalGeneration(tf.BartConfig(**sizes, decoder_attention_heads=2))
    with pytest.raises(medlib.MedlibError, match="encoder-decoder"):
        medlib.Model(bart, word_tokenizer())


def test_a_decoder_without_an_unembedding_is_refused():
    import transformers as tf

    with pytest.raises(medlib.MedlibError, match="no unembedding"):
        medlib.Model(tf.LlamaModel(tiny_hf("llama").config), word_tokenizer())


def test_a_block_that_cannot_be_called_alone_is_named():
    model = tiny_model()

    def broken(module, args, kwargs):
        if not isinstance(model.blocks[0], medlib.replay._Stub) and seen:
            raise RuntimeError("needs what came before")
        seen.append(module)

    seen = []
    model.blocks[1].register_forward_pre_hook(broken, with_kwargs=True)
    with pytest.raises(medlib.MedlibError, match="block 2 cannot be called alone"):
        medlib.lesion_sweep(model, PROMPTS)
