"""Reading a patch sweep by place."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model

import medlib
from medlib import MedlibError, Pair, Prompt, concepts, hooks
from medlib.chapters.patching import couples, sites


def pair(template, clean, corrupt, answer, wrong):
    """A pair of prompts that know where their subject stands."""
    return Pair(Prompt.fill(template, clean), Prompt.fill(template, corrupt), answer, wrong)


PAIRS = [
    pair("w1 {entity} w4 w5 w6", "w2 w3", "w7 w9", " w10", " w11"),
    pair("w1 {entity} w4 w5 w6", "w7 w9", "w2 w3", " w11", " w10"),
    pair("w1 {entity} w3 w4", "w2", "w8", " w10", " w12"),
    pair("w1 {entity} w3 w4", "w8", "w2", " w12", " w10"),
]
LABELS = pd.DataFrame(
    {
        "item": ["a", "b", "c", "d"],
        "other": ["b", "a", "d", "c"],
        "couple": ["a / b", "a / b", "c / d", "c / d"],
        "template": "plain",
    }
)


def test_each_token_has_its_part_in_the_prompt():
    ends = pair("w1 w2 {entity}", "w3", "w4", " w10", " w12")
    groups = sites.token_groups(tiny_model(), [*PAIRS, ends]).groupby("pair")["group"].agg(list)
    assert groups[0] == ["before", "subject", "subject", "between", "between", "last"]
    assert groups[4] == ["before", "before", "last"]


def test_the_subject_is_the_whole_phrase_whichever_of_its_words_the_other_prompt_shares():
    """Of ages, "-year-old man" is shared by half of the couples; it is the subject in all of them."""
    for other in ("w7 w3 w4", "w7 w3 w9", "w2 w8 w4", "w2 w3 w8"):
        one = pair("w1 {entity} w5 w6", "w2 w3 w4", other, " w10", " w11")
        groups = sites.token_groups(tiny_model(), [one])["group"]
        assert groups.tolist() == ["before", *["subject"] * 3, "between", "last"]


@pytest.mark.parametrize("domain", ["age", "processes", "dosage"])
def test_all_that_differs_between_two_prompts_is_in_the_subject(embedded_model, domain):
    pairs = concepts.pairs(domain, embedded_model.tokenizer)[0][:60]
    groups = sites.token_groups(embedded_model, pairs).groupby("pair")["group"].agg(list)
    for one, parts in zip(pairs, groups, strict=True):
        ids = [embedded_model.tokenizer(text)["input_ids"] for text in (one.clean, one.corrupt)]
        assert {part for a, b, part in zip(*ids, parts, strict=True) if a != b} == {"subject"}
    if domain == "age":  # "8", "1", "-", "year", "-", "old", " man", then "was by far", "the"
        ends = [parts[parts.index("subject") :] for parts in groups]
        assert all(parts[-4:] == ["between"] * 3 + ["last"] and "between" not in parts[:-4] for parts in ends)


def test_plain_text_does_not_say_where_its_subject_stands():
    with pytest.raises(MedlibError, match="Prompt.fill"):
        sites.token_groups(tiny_model(), [Pair("w1 w2 w3", "w1 w4 w3", " w10", " w12")])


def test_a_share_is_what_a_patch_moves_and_every_site_keeps_its_labels():
    table = sites.sweep_parts(tiny_model(), PAIRS, LABELS)
    assert len(table) == 4 * 4 * 3 and not table["removed"].isna().any()
    top = table[table["layer"] == 4].set_index("group")["share"]
    assert np.allclose(top["last"], 1, atol=1e-3) and np.allclose(top[["subject", "between"]], 0, atol=1e-3)
    assert (table["couple"] == LABELS["couple"].iloc[table["pair"]].to_numpy()).all()


def test_what_the_partners_patch_brings_back_is_what_the_opposite_patch_removes():
    model = tiny_model()
    table = sites.sweep_parts(model, PAIRS, LABELS)
    groups = sites.token_groups(model, PAIRS).query("group != 'before'")
    noised = medlib.patch_sweep(model, PAIRS, "noise", groups=groups)
    both = table.merge(noised, on=["pair", "layer", "group"])
    np.testing.assert_allclose(both["removed"], 1 - both["recovered"], atol=1e-4)
    np.testing.assert_allclose(both["gap"], (both["share"] - 1 + both["recovered"]).abs(), atol=1e-4)


def test_estimates_come_in_the_same_rows_as_the_exact_sweep_and_agree_where_they_must():
    exact, estimate = (sites.sweep_parts(tiny_model(), PAIRS, LABELS, estimate=e) for e in (False, True))
    assert exact[["pair", "layer", "group", "item"]].equals(estimate[["pair", "layer", "group", "item"]])
    for table in (exact, estimate):
        table["used"] = True
    exact["couple"] = exact["pair"].astype(str)
    value, low, high = sites.agreement(exact, exact)
    assert value == pytest.approx(1) and low == pytest.approx(1)
    reverse = exact.assign(share=-exact["share"])
    assert sites.agreement(exact, reverse).value == pytest.approx(-1)


def sweep_of(handovers):
    """A made-up sweep whose last token takes over at the given layer, one pair for each."""
    rows = [
        {"couple": f"c{pair}", "pair": pair, "layer": layer, "group": "last", "used": True, "share": float(layer >= at)}
        for pair, at in enumerate(handovers)
        for layer in range(1, 9)
    ]
    return pd.DataFrame(rows)


def test_the_handover_is_the_first_layer_above_one_half_in_the_median():
    value, low, high = sites.handover(sweep_of([3, 4, 5, 5, 5, 5, 6]))
    assert value == 5 and low <= 5 <= high <= 6
    assert sites.handover(sweep_of([3] * 5), sweep_of([6] * 5)) == (-3, -3, -3)


def test_handovers_leave_out_what_was_not_swept():
    swept = {"drugs": sweep_of([3] * 5), "foods": sweep_of([6] * 5), "dosage": sweep_of([4] * 5)}
    table = sites.handovers(swept, {"drugs": "foods", "dosage": "elements"}).set_index(["domain", "what"])["value"]
    assert table.to_dict() == {
        ("drugs", "domain"): 3,
        ("drugs", "control"): 6,
        ("drugs", "difference"): -3,
        ("dosage", "domain"): 4,
    }


def test_curves_leave_out_a_part_that_too_few_couples_have():
    assert list(sites.curves(sweep_of([3] * couples.FEWEST))) == ["last"]
    assert sites.curves(sweep_of([3] * (couples.FEWEST - 1))) == {}


def test_the_interpolated_handover_lies_between_the_layers_around_one_half():
    table = sweep_of([3] * 6)
    table.loc[table["layer"] == 2, "share"] = 0.1
    table.loc[table["layer"] == 3, "share"] = 0.9
    assert sites.crossing(table) == pytest.approx((2.5, 2.5, 2.5)) and sites.handover(table).value == 3
    assert sites.crossing(sweep_of([1] * 6)).value == 0.5  # from nothing before the first layer
    later = table.assign(share=table["share"] - 0.2 * (table["layer"] == 3))
    assert sites.crossing(later, table).value == pytest.approx(1 / 6)


def test_pairs_that_are_wrong_when_clean_are_read_with_the_same_measures():
    table = pd.concat([sweep_of([3] * 5), sweep_of([6] * 5).assign(used=False)])
    assert sites.handover(table).value == 3 and sites.handover(sites.wrong_when_clean(table)).value == 6


def test_the_one_block_left_in_the_model_is_found(smollm2):
    found, error = sites.planted(smollm2)
    assert error < 0.01 and found["P"].round().tolist() == [0, 0, 0, 1, 1, 0]


def test_attention_and_mlp_are_patched_and_estimated_in_the_same_couples():
    labels = LABELS.assign(couple=[*"aabb"], clean_diff=1.0)
    one = couples.Drawn(PAIRS * 3, pd.concat([labels.assign(couple=labels["couple"] + n) for n in "123"]), None)
    one = one._replace(labels=one.labels.reset_index(drop=True))
    model, drawn = tiny_model(), {"drugs": one}
    assert sites.sweep_blocks(model, drawn, couples.FEWEST - 1) == {}
    one.labels["template"] = one.labels["couple"]  # the same pairs three times over, told apart
    exact = sites.sweep_blocks(model, drawn, couples.FEWEST)
    assert set(exact) == {("attention", "drugs"), ("mlp", "drugs")}
    estimated = sites.estimates(model, drawn, exact, couples.FEWEST)
    site = ["pair", "layer", "group", "couple"]
    for key, table in exact.items():
        assert table["couple"].nunique() == couples.FEWEST and set(table["group"]) == {"subject", "last"}
        assert table[site].equals(estimated[key][site])


def test_a_planted_block_is_where_the_last_token_takes_over():
    model = tiny_model()
    pairs = [pair("w1 {entity} w3 w4", f"w{i}", f"w{i + 10}", " w50", " w51") for i in range(5, 13)]
    labels = pd.DataFrame({"item": [str(i) for i in range(8)], "other": "x", "template": "plain"})
    labels["couple"] = labels["item"]
    with hooks.only(model, 3):
        table = sites.sweep_parts(model, pairs, labels)
    assert sites.handover(table.assign(used=True)) == (3, 3, 3)


def test_nothing_can_be_planted_in_a_model_of_one_block():
    model = tiny_model()
    del model.blocks[1:]
    with pytest.raises(MedlibError, match="one block"):
        sites.planted(model)


def test_a_small_difference_makes_a_large_share_of_the_same_logits():
    table = pd.DataFrame({"pair": [0, 0, 1], "clean_diff": [2.0, 2.0, 0.1], "corrupt_diff": 0.0})
    table["logit_diff"] = [1.0, -1.5, 1.0]
    table["share"] = table["logit_diff"] / table["clean_diff"]
    found = sites.extremes(table)
    assert found["moved"].tolist() == [1.5, 1.0]
    assert found["share"].tolist() == pytest.approx([0.75, 10])


def test_a_token_map_is_of_the_used_pairs_of_one_shape():
    labels = LABELS.assign(clean_diff=[1.0, 1.0, 1.0, -1.0])
    heat, names, n = sites.token_map(tiny_model(), PAIRS, labels, 6)
    assert n == 2 and heat.shape == (4, 5) and names == ["subject 1", "subject 2", "w4", "w5", "w6"]
    assert heat[-1, -1] == pytest.approx(1, abs=1e-3) and np.allclose(heat[-1, :-1], 0, atol=1e-3)
    shared = [
        pair("w1 {entity} w6", a, b, " w10", " w11") for a, b in (("w2 w3 w4", "w7 w3 w4"), ("w8 w3 w4", "w9 w3 w4"))
    ]
    names = sites.token_map(tiny_model(), shared, labels[:2], 6)[1]
    assert names == ["subject 1", "w3", "w4", "w6"]  # named by its text where all prompts share it
    with pytest.raises(MedlibError, match="no pairs"):
        sites.token_map(tiny_model(), [], labels[:0], 6)


def test_couples_are_drawn_among_those_that_say_something(smollm2, monkeypatch):
    asked = concepts.questions("drugs")
    few = asked[asked["variant"] == asked["variant"][0]].head(40).reset_index(drop=True)
    monkeypatch.setattr(concepts, "questions", lambda domain: few)
    pairs, labels, screened = couples.draw(smollm2, "drugs", 4, threshold=2.0)
    assert len(pairs) == len(labels) == 2 * labels["couple"].nunique() == 8
    span = labels["clean_diff"] - labels["corrupt_diff"]
    assert (span >= 2).all() and labels.groupby("couple")["clean_diff"].max().gt(0).all()
    table = medlib.attribution_sweep(smollm2, pairs).drop_duplicates("pair")
    np.testing.assert_allclose(table["clean_diff"], labels["clean_diff"], atol=1e-2)
    weak = couples.draw(smollm2, "drugs", 3, threshold=2.0, weak=True).labels
    assert (weak["clean_diff"] - weak["corrupt_diff"] < 2).all()
    table = couples.counts({"drugs": couples.Drawn(pairs, labels, screened)})
    assert table.loc["patched (both pairs of a couple)", "drugs"] == 8


def test_a_model_that_tells_no_answers_apart_is_refused_before_anything_is_patched():
    drawn = {"drugs": couples.Drawn([], pd.DataFrame({"couple": ["a / b"]}), None)}
    with pytest.raises(MedlibError, match=r"\(drugs 1\), so there is nothing to patch"):
        couples.too_few(drawn)
