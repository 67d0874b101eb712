"""Prompts through a chat template: the prompt begins the reply, and every position stays where its words are."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from conftest import tiny_hf, tiny_model, word_tokenizer
from tokenizers import processors

import medlib
from medlib import MedlibError, Pair, Prompt, concepts, hooks
from medlib.chapters import atlas
from medlib.chapters.lesion import grading
from medlib.chapters.patching import sites
from medlib.prompts import REQUEST, answer_token, encode
from medlib.states import entity_tokens, opens

# Words that the small tokenizer knows: w50 opens a turn, w51 is the user, w52 the model, w53 closes a turn.
TURNS = (
    "{{ bos_token }}{% for m in messages %} w50 {{ 'w52' if m.role == 'assistant' else 'w51' }} {{ m.content }} w53"
    "{% endfor %}"
)
FRONT = "<bos> w50 w51 Complete the sentence. w53 w50 w52 "
PROMPTS = [
    Prompt.fill("w1 {entity} w2 w3", "w7 w8 w9"),
    Prompt.fill("{entity} w2", "w5"),
    Prompt.fill("w1 w2 {entity}", "w7 w4"),
]
ANSWERS = [" w6", " w9", " w25"]
PAIRS = [
    Pair(Prompt.fill("w1 {entity} w4 w5", "w2 w3"), Prompt.fill("w1 {entity} w4 w5", "w7 w9"), " w10", " w11"),
    Pair(Prompt.fill("{entity} w4", "w2"), Prompt.fill("{entity} w4", "w8"), " w10", " w12"),
]


def chatty(template=TURNS):
    """The small tokenizer with a made-up chat template."""
    tokenizer = word_tokenizer(bos=True)
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture
def chat():
    return medlib.Model(tiny_hf("llama"), chatty(), name="tiny", chat=True)


@pytest.fixture(scope="module")
def smollm2_chat(smollm2):
    return medlib.Model(smollm2.hf, smollm2.tokenizer, name=smollm2.name, chat=True)


def rendered(model, text):
    """The ids `[1, token]` of the text that the template itself renders for a reply that begins so."""
    turns = [{"role": "user", "content": REQUEST}, {"role": "assistant", "content": text}]
    found = model.tokenizer.apply_chat_template(turns, continue_final_message=True, return_dict=True)["input_ids"]
    return torch.tensor([found], device=model.device)


def last_logits(model, text):
    return model.hf(input_ids=rendered(model, text)).logits[0, -1]


# What goes in


def test_a_prompt_goes_in_as_the_beginning_of_the_reply_with_one_start_of_text(chat):
    assert chat.chat and chat.chat_prefix == FRONT
    ids = encode(chat, PROMPTS)
    assert ids == [rendered(chat, prompt)[0].tolist() for prompt in PROMPTS]
    start = chat.tokenizer.bos_token_id
    assert all(one[0] == start and start not in one[1:] for one in ids)


def test_prompts_go_in_raw_unless_a_chat_is_asked_for():
    model = medlib.Model(tiny_hf("llama"), chatty())
    assert not model.chat and model.chat_prefix is None
    assert encode(model, PROMPTS) == [model.tokenizer(prompt)["input_ids"] for prompt in PROMPTS]


def test_the_embedded_models_template_puts_its_system_prompt_and_the_request_before_each_prompt(smollm2_chat):
    prompts = ["Insulin is used to treat", "The capital of France is"]
    for prompt, ids in zip(prompts, encode(smollm2_chat, prompts), strict=True):
        assert ids == rendered(smollm2_chat, prompt)[0].tolist()
        text = smollm2_chat.tokenizer.decode(ids)
        assert text.startswith("<|im_start|>system\n") and text.count(REQUEST) == 1
        assert text.endswith(f"<|im_start|>assistant\n{prompt}")


@torch.no_grad()
def test_the_embedded_model_goes_on_with_the_sentence_that_its_reply_begins_with(smollm2_chat):
    logits = last_logits(smollm2_chat, "Insulin is used to treat")
    assert smollm2_chat.tokenizer.decode(logits.argmax()) == " diabetes"
    assert grading.continuations(smollm2_chat, ["Insulin is used to treat"], tokens=1) == [" diabetes"]


# Where things stand


@pytest.mark.parametrize("domain", ["drugs", "age", "dosage", "processes"])
def test_an_entitys_tokens_are_the_entity_and_the_last_token_is_the_prompts_own(smollm2_chat, domain):
    prompts = concepts.prompts(domain)["prompt"].iloc[::20].tolist()
    raw = medlib.Model(smollm2_chat.hf, smollm2_chat.tokenizer)
    for prompt, ids, raw_ids in zip(prompts, encode(smollm2_chat, prompts), encode(raw, prompts), strict=True):
        start, end = entity_tokens(smollm2_chat, prompt)
        assert smollm2_chat.tokenizer.decode(ids[start:end]).strip() == prompt[slice(*prompt.entity)].strip()
        assert ids[-1] == raw_ids[-1] and not opens(smollm2_chat, prompt)
        assert atlas.pieces(smollm2_chat, [prompt]) == [frozenset(ids[start:end])]


def test_an_item_that_the_template_names_too_is_found_in_the_prompt(chat):
    prompt = Prompt.fill("{entity} w1", "w50")
    start, end = entity_tokens(chat, prompt)
    assert (start, end) == (len(encode(chat, [prompt])[0]) - 2, len(encode(chat, [prompt])[0]) - 1)


def test_a_prompt_that_melts_into_what_stands_before_it_keeps_its_entity(smollm2):
    """A template that ends in a space gives that space to the first token of the reply."""
    tokenizer = type(smollm2.tokenizer).from_pretrained(smollm2.tokenizer.name_or_path)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}{% endfor %}"
    model = medlib.Model(smollm2.hf, tokenizer, name="spaced", chat=True)
    assert model.chat_prefix.endswith("[assistant] ")
    prompt = Prompt.fill("{entity} is used to treat", "Insulin")
    ids = encode(model, [prompt])[0]
    assert ids == rendered(model, prompt)[0].tolist()
    assert tokenizer.decode(ids[slice(*entity_tokens(model, prompt))]) == " Insulin"
    pair = Pair(prompt, Prompt.fill("{entity} is used to treat", "Insight"), " diabetes", " pain")
    assert sites.token_groups(model, [pair]).groupby("pair")["group"].agg(list)[0][-5:] == [
        "subject",
        *["between"] * 3,
        "last",
    ]


def test_an_answer_counts_by_the_token_with_which_the_rendered_text_goes_on(smollm2_chat):
    questions = concepts.questions("drugs").iloc[::40]
    for row in questions.itertuples():
        before, after = (rendered(smollm2_chat, text)[0].tolist() for text in (row.prompt, row.prompt + row.answer))
        assert after[: len(before)] == before
        assert answer_token(smollm2_chat, row.prompt, row.answer) == after[len(before)]


def test_a_space_at_the_end_of_a_prompt_stays_where_a_template_would_trim_it(smollm2):
    """Answers that begin with a digit follow a prompt that ends in a space."""
    tokenizer = type(smollm2.tokenizer).from_pretrained(smollm2.tokenizer.name_or_path)
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content']", "message['content'] | trim")
    model = medlib.Model(smollm2.hf, tokenizer, name="trimmed", chat=True)
    row = concepts.questions("dosage").iloc[0]
    assert row.prompt.endswith(" ")
    assert tokenizer.decode(encode(model, [row.prompt])[0]).endswith(row.prompt)
    assert tokenizer.decode(answer_token(model, row.prompt, row.answer)) == row.answer[0]


# What the sweeps make of it


@torch.no_grad()
@pytest.mark.parametrize("at", ["last", "entity", "mean"])
def test_activations_are_those_of_the_rendered_text_at_the_prompts_own_places(chat, at):
    states = medlib.activations(chat, PROMPTS, at=at)
    from_the_end = {
        "last": [(1, 1), (1, 1), (1, 1)],
        "entity": [(3, 3), (2, 2), (1, 1)],
        "mean": [(5, 3), (2, 2), (2, 1)],
    }
    for i, prompt in enumerate(PROMPTS):
        with hooks.capture(chat) as own:
            last_logits(chat, prompt)
        first, last = from_the_end[at][i]
        for layer in range(chat.n_layers + 1):
            expected = own[layer][0, len(own[layer][0]) - first : len(own[layer][0]) - last + 1].mean(0)
            np.testing.assert_allclose(states[layer, i], expected, rtol=2e-4, atol=2e-4)


@torch.no_grad()
def test_a_lesion_is_that_of_the_rendered_text(chat):
    table = medlib.lesion_sweep(chat, PROMPTS, ANSWERS).set_index(["prompt", "layer"])
    for i, prompt in enumerate(PROMPTS):
        intact, answer = last_logits(chat, prompt).log_softmax(-1), chat.tokenizer.convert_tokens_to_ids(ANSWERS[i][1:])
        for layer in range(1, chat.n_layers + 1):
            with hooks.skip(chat, layer):
                lesioned = last_logits(chat, prompt).log_softmax(-1)
            expected = float((intact.exp() * (intact - lesioned)).sum())
            assert table.kl[i, layer] == pytest.approx(expected, rel=1e-3, abs=1e-4)
            assert table.logprob_drop[i, layer] == pytest.approx(float(intact[answer] - lesioned[answer]), abs=1e-4)


@torch.no_grad()
def test_the_loss_of_a_text_is_that_of_its_own_tokens_and_not_of_the_template(chat):
    texts = ["w1 w2 w3 w4", "w9"]
    table = medlib.lesion_texts(chat, texts).set_index(["text", "layer"])
    for i, (text, n) in enumerate(zip(texts, (4, 1), strict=True)):
        ids = rendered(chat, text)
        for layer in range(chat.n_layers + 1):
            with hooks.skip(chat, layer) if layer else nullcontext():
                logs = chat.hf(input_ids=ids).logits[0, :-1].log_softmax(-1)
            losses = -logs.gather(1, ids[0, 1:, None])[-n:]
            assert table.tokens[i, layer] == n
            assert table.loss[i, layer] == pytest.approx(float(losses.mean()), rel=1e-3, abs=1e-4)


@torch.no_grad()
def test_a_patch_is_made_at_the_subject_and_nothing_moves_before_it(chat):
    groups = sites.token_groups(chat, PAIRS)
    table = medlib.patch_sweep(chat, PAIRS, groups=groups[groups["group"] != "before"])
    table = table.set_index(["pair", "layer", "group"])
    for i, (pair, subject) in enumerate(zip(PAIRS, (slice(-4, -2), slice(-2, -1)), strict=True)):
        right, wrong = (chat.tokenizer.convert_tokens_to_ids(answer[1:]) for answer in (pair.answer, pair.wrong))
        with hooks.capture(chat) as clean:
            last_logits(chat, pair.clean)
        for layer in range(1, chat.n_layers + 1):

            def patch(state, layer=layer, subject=subject, clean=clean):
                state = state.clone()
                state[0, subject] = clean[layer][0, subject]
                return state

            with hooks.replace(chat, layer, patch):
                patched = last_logits(chat, pair.corrupt)
            expected = float(patched[right] - patched[wrong])
            assert table.logit_diff[i, layer, "subject"] == pytest.approx(expected, abs=1e-4)
    single = medlib.patch_sweep(chat, PAIRS)
    assert np.allclose(single[single["position"] < len(encode(chat, [""])[0])]["recovered"], 0, atol=1e-6)


def test_an_estimate_of_patches_has_the_same_sites_as_the_patches(chat):
    groups = sites.token_groups(chat, PAIRS)
    exact, estimate = (sweep(chat, PAIRS, groups=groups) for sweep in (medlib.patch_sweep, medlib.attribution_sweep))
    assert exact[["pair", "layer", "group"]].equals(estimate[["pair", "layer", "group"]])


def test_two_prompts_differ_only_where_their_subjects_do(chat):
    clean, corrupt = (encode(chat, [getattr(PAIRS[0], side)])[0] for side in ("clean", "corrupt"))
    assert [a != b for a, b in zip(clean, corrupt, strict=True)] == [False] * (len(clean) - 4) + [True] * 2 + [
        False
    ] * 2


def test_couples_are_of_equal_length_in_the_chat_and_what_is_planted_is_found_there(smollm2_chat):
    pairs, _ = concepts.pairs("cities", smollm2_chat)
    assert pairs == concepts.pairs("cities", smollm2_chat.tokenizer)[0]  # after a line break names are cut alike
    clean, corrupt, _ = medlib.patching.encode_pairs(smollm2_chat, pairs[:40])
    assert [len(ids) for ids in clean] == [len(ids) for ids in corrupt]
    found, error = sites.planted(smollm2_chat)
    assert error < 0.02


# What is refused, and what is told


@pytest.mark.parametrize(
    "template, parts",
    [
        (None, ["has no chat template", "leave chat out"]),
        (
            "{{ raise_exception('roles must alternate') }}{{ messages[1].content }}",
            ["roles must alternate", "chat=False"],
        ),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", ["only begun", "chat=False"]),
        ("{{ messages[1].content + 1 }}", ["only begun", "chat=False"]),
        ("{% for m in messages %}{{ m.content | replace('Ins', 'ins') }}{% endfor %}", ["tiny", "chat=False"]),
    ],
)
def test_a_template_that_cannot_begin_a_reply_is_refused_with_what_to_do(template, parts):
    with pytest.raises(MedlibError) as caught:
        medlib.Model(tiny_hf("llama"), chatty(template), name="tiny", chat=True)
    assert all(part in str(caught.value) for part in parts)


def test_a_template_counts_for_the_context(chat):
    longest = " ".join(["w1"] * (chat.context - len(encode(chat, [""])[0])))
    assert len(encode(chat, [longest])[0]) == chat.context
    with pytest.raises(MedlibError, match="does not fit"):
        encode(chat, [f"{longest} w1"])


def test_a_tokenizer_that_ends_every_text_with_a_special_token_does_not_end_a_reply_that_goes_on():
    tokenizer = chatty()
    ends = processors.TemplateProcessing(single="$A <bos>", special_tokens=[("<bos>", 1)])
    tokenizer.backend_tokenizer.post_processor = ends
    with pytest.raises(MedlibError, match="ends every text"):
        encode(medlib.Model(tiny_hf("llama"), tokenizer), PROMPTS)
    model = medlib.Model(tiny_hf("llama"), tokenizer, chat=True)
    assert [ids[-1] for ids in encode(model, PROMPTS)] == tokenizer.convert_tokens_to_ids(["w3", "w2", "w4"])


def test_the_record_says_whether_prompts_went_through_the_template_and_what_it_put_in_front(
    chat, tmp_path, monkeypatch
):
    monkeypatch.setenv("MEDLIB_RUNS", str(tmp_path))
    for model, told in ((chat, (True, FRONT)), (tiny_model(), (False, None))):
        run = medlib.Run("lesion", model, parameters={}, seed=0)
        run.save([{"metric": "kl", "value": 1.0, "domain": "drugs", "item": "aspirin"}])
        record = json.loads((run.folder / "lesion.json").read_text())["model"]
        assert (record["chat"], record["chat_prefix"]) == told
