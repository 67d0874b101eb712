"""The chapter on the map: layers that matter are found to, the tables come back, and sentences turn with them."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import planted
import planted_tables as made
import pytest

from medlib import MedlibError, concepts, figures, mapping, results
from medlib.chapters.knowledge_map import map_figures, map_prose, map_tables, planted_map, validation
from medlib.mapping import rules

CONTROLS, NAMES, L = {"drugs": "foods"}, ["drugs", "foods"], made.LAYERS
MASK = np.isin(np.arange(1, L + 1), [8, 9, 10, 11])


@pytest.fixture(scope="module")
def maps():
    tables = made.everything()
    less = mapping.differences(tables, CONTROLS, n=40, n_shuffles=99)
    return {"plain": mapping.cells(tables, NAMES, n=40), "minus control": less}


def effect(curve, n=12, noise=0.3, seed=0):
    """Made-up effects of `n` items, each its own unit, around a curve `[block]`."""
    values = np.asarray(curve) + noise * np.random.default_rng(seed).normal(size=(n, len(curve)))
    table = pd.DataFrame(values, columns=range(1, len(curve) + 1)).rename_axis("item").reset_index()
    table = table.melt("item", var_name="layer", value_name="value").astype({"layer": int})
    return table.assign(cluster=table["item"], variant="only")


# --- planted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_layers", [12, 18, 30, 80])
def test_the_chapters_own_check_passes_at_any_depth_and_not_with_a_rule_that_finds_the_first_layers(
    n_layers, monkeypatch
):
    assert planted_map.check(n_layers)["passed"]
    first = np.arange(n_layers) < 4
    monkeypatch.setattr(rules, "layers", lambda curves, *_, **__: np.broadcast_to(first, np.shape(curves)))
    assert not planted_map.check(n_layers)["passed"]


# --- validation -------------------------------------------------------------------------------------------------------


def test_layers_with_the_largest_effect_beat_random_ones_and_layers_with_the_smallest_none():
    best = validation.against_random(effect(2 * MASK), MASK, n=999)
    assert best["beaten"] > 0.97 and best["p"] < 0.1 and best["low"] > 0.9 and (best["n"], best["layers"]) == (12, 4)
    assert best["inside"] == pytest.approx(2, abs=0.2) and best["elsewhere"] < 1
    worst = validation.against_random(effect(-2.0 * MASK), MASK, n=999)
    assert worst["beaten"] < 0.03 and worst["p"] > 0.9


def test_in_effects_of_noise_mapped_layers_beat_half_of_the_random_ones():
    found = [validation.against_random(effect(0 * MASK, seed=seed), MASK, n=199, n_resamples=20) for seed in range(60)]
    assert abs(np.mean([one["beaten"] for one in found]) - 0.5) < 0.12
    assert np.mean([one["p"] <= 0.1 for one in found]) < 0.25


def test_first_layers_set_aside_count_neither_as_mapped_nor_as_random():
    curve = 50.0 * (np.arange(L) < 3) + 2 * MASK
    mask = MASK | (np.arange(L) < 2)
    late = validation.against_random(effect(curve), mask, skipped=3, n=499)
    assert late["layers"] == 4 and late["inside"] < 5 and late["beaten"] > 0.95
    only_first = validation.against_random(effect(curve), np.arange(L) < 3, skipped=3)
    assert np.isnan(only_first["beaten"]) and only_first["layers"] == 0


def test_what_harms_the_control_as_much_is_not_beyond_it():
    both = effect(2 * MASK), effect(2 * MASK, seed=1)
    same = validation.beyond_control(*both, MASK)
    assert same.low < 0 < same.high
    more = validation.beyond_control(both[0], effect(0 * MASK, seed=1), MASK)
    assert more.low > 1.5 and more.value == pytest.approx(2, abs=0.2)
    assert validation.beyond_control(*both, MASK & False) is None


def test_items_that_answers_came_from_are_held_out_couples_by_both_their_items():
    lesions = results.tidy(
        [dict(domain="drugs", item="aspirin", metric="kl", value=1.0)], model="m", technique="lesion"
    )
    pairs = results.tidy(
        [dict(domain="drugs", item="insulin / warfarin", metric="logit_diff", value=1.0)],
        model="m",
        technique="patching",
    )
    used = validation.used_items({"lesion": lesions, "patching": pairs}, "drugs")
    assert used == {"aspirin", "insulin", "warfarin"} and validation.used_items({}, "drugs") == set()
    questions = concepts.questions("drugs")
    most = set(questions["item"].unique()[:200])
    asked = validation.held_out(questions, most, 6)
    assert asked["item"].nunique() == len(asked) == 6 and not set(asked["item"]) & most
    with pytest.raises(MedlibError, match="units are left"):
        validation.held_out(questions, set(questions["item"].iloc[:-2]), 6)


def made_up_questions(answers=planted.ANSWERS):
    rows = [
        dict(item=f"{first} {second} {subject}", prompt=f"the {first} {second} {subject} treats", answer=f" {answer}")
        for first in planted.FILLERS[1:4]
        for second in planted.FILLERS[1:3]
        for subject, answer in zip(planted.SUBJECTS, answers, strict=True)
    ]
    table = pd.DataFrame(rows).assign(variant="only", also=[set() for _ in rows])
    return table.assign(cluster=table["item"])


def test_steering_moves_the_answer_where_the_planted_model_reads_it_and_not_before():
    model, questions = planted.planted("carry, then look up"), made_up_questions()
    asked = questions.iloc[:6]
    found = validation.steered(model, questions, asked, n_states=30)
    by_layer = found.groupby("layer")[["value", "random"]].mean()
    assert set(found["item"]) == set(asked["item"])
    assert abs(by_layer.loc[1, "value"]) < 1e-3 and (by_layer.loc[2:6, "value"] > 2).all()
    assert (by_layer.loc[2:6, "value"] > by_layer.loc[2:6, "random"].abs()).all()


def test_steering_is_not_run_where_all_items_have_one_answer():
    model, questions = planted.planted("carry, then look up"), made_up_questions(["pain"] * 6)
    assert validation.steered(model, questions, questions.iloc[:6]) is None


def test_lesions_judge_no_map_that_lesions_made_and_what_is_not_known_is_not_judged(maps):
    found = {(name, kind): effect(MASK) for name in NAMES for kind in validation.KINDS}
    judged = validation.table(found, maps, CONTROLS, {"drugs": True}, 2)
    by_kind = judged.groupby("kind")["technique"].agg(set)
    assert "lesion" not in by_kind["lesion"] | by_kind["lesion, resampled"] and "lesion" in by_kind["steering"]
    assert set(judged["scope"]) == {"all layers", "past the first 2"} and set(judged["map"]) == set(maps)
    assert judged.dropna(subset=["beyond"])["scope"].unique().tolist() == ["all layers"]
    assert validation.table(found, maps, CONTROLS, {"drugs": False}, 2).empty


# --- the table and what a tool takes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(maps):
    """A whole results table of the chapter, of made-up chapters and effects."""
    tables = made.everything()
    found = {(name, kind): effect(MASK).assign(random=0.0) for name in NAMES for kind in validation.KINDS}
    parts = [map_tables.layer_rows(map_tables.layers(maps["plain"], NAMES), "plain")]
    parts += [map_tables.layer_rows(map_tables.layers(maps["minus control"], list(CONTROLS)), "minus control")]
    parts += [
        map_tables.known_rows(mapping.known(tables)),
        map_tables.test_rows(map_tables.corrected(maps["minus control"])),
    ]
    pairs = mapping.pairs_of_techniques(maps["plain"], "drugs", n=99)
    whole = map_tables.agreements(maps, NAMES, CONTROLS, n=199)
    among = mapping.among_domains(maps["plain"], CONTROLS, n=99)
    stable = mapping.stability(tables, NAMES, maps["plain"], n=10)
    between = map_tables.corrected(maps["minus control"]).assign(control="cities")
    judged = validation.table(found, maps, CONTROLS, {"drugs": True}, 2)
    parts += [map_tables.number_rows(pairs, whole, among, stable, between, judged), map_tables.effect_rows(found)]
    parts += [map_tables.item_rows(found)]
    return results.tidy(pd.concat(parts, ignore_index=True), model="made up", technique="knowledge_map", seed=0)


def test_a_map_comes_back_from_the_results_table_as_it_was(maps, table):
    for name, cells in maps.items():
        back = map_tables.read_back(table, name)
        for technique in mapping.TECHNIQUES:
            own = back[(back["domain"] == "drugs") & (back["technique"] == technique)].sort_values("layer")
            assert (own["mapped"].to_numpy() == cells["drugs", technique].mask).all()
            assert np.allclose(own["share"].astype(float), cells["drugs", technique].share)
        assert set(back.loc[back["domain"] == "drugs", "known"]) == {True}
    assert map_tables.read_back(table, "minus control")["sure"].isin([True, False, None]).all()
    assert map_tables.known(table) == {"drugs": True, "foods": True}


def test_what_did_not_run_comes_back_as_not_run():
    tables = {"lesion": made.lesion({"drugs": made.bump([5, 6, 7])})}
    layers = map_tables.layers(mapping.cells(tables, ["drugs"], n=10), ["drugs"])
    written = results.tidy(map_tables.layer_rows(layers, "plain"), model="m", technique="knowledge_map", seed=0)
    status = map_tables.read_back(written, "plain").drop_duplicates("technique").set_index("technique")["status"]
    assert status.to_dict() == {
        "lesion": "run",
        "geometry": "not run",
        "patching": "not run",
        "saliency": "not run",
        "consensus": "1 techniques",
    }


def test_what_was_looked_at_in_some_layers_only_is_so_in_the_table_the_figure_and_the_words():
    line = made.ages({"age": 2 + made.step(8, 10)[1:]})
    tables = {
        name: one({"age": made.bump(range(7, 13))})
        for name, one in (("lesion", made.lesion), ("saliency", made.saliency))
    }
    cells = mapping.cells(tables | {"ages": line[line["layer"] % 3 == 0]}, ["age"], n=10)
    layers = map_tables.layers(cells, ["age"])
    written = results.tidy(map_tables.layer_rows(layers, "plain"), model="m", technique="knowledge_map", seed=0)
    back = map_tables.read_back(written, "plain")
    assert set(back[back["technique"] == "geometry"]["status"]) == {"not at every layer"}
    assert map_prose.intervals(layers, {}).loc["age", "geometry"] == "not at every layer"
    axes = plt.figure().subplots()
    map_figures.lanes(axes, back, ["age"])
    assert " geometry: not at every layer" in [text.get_text() for text in axes.texts]
    plt.close()


def test_a_map_of_nothing_is_refused_and_one_without_differences_has_no_layers_there():
    nothing = {("drugs", name): mapping.Cell("not run") for name in mapping.TECHNIQUES}
    with pytest.raises(MedlibError, match="Run one of its chapters first"):
        map_tables.some_ran(nothing)
    table = map_tables.layer_rows(map_tables.layers(nothing, ["drugs"]), "minus control")
    read = map_tables.read_back(table.assign(n=None), "minus control")
    assert set(read["status"]) == {"not run", "0 techniques"} and not read["mapped"].any()


def test_of_a_model_that_knows_no_domain_nothing_is_judged_and_effects_are_grey():
    found = {("drugs", kind): effect(2 * MASK) for kind in validation.KINDS}
    judged = validation.table(found, {}, CONTROLS, {"drugs": False, "foods": False}, 1)
    assert judged.empty and map_tables.judged_rows(judged).empty
    curves = map_tables.effect_rows(found)
    _, axes = map_figures.effect_curves(curves, CONTROLS, {"drugs": False}, {}, "lesion", "nats")
    assert list(axes) == ["drugs"] and figures.NOT_KNOWN in {line.get_color() for line in axes["drugs"].lines}


def test_the_advice_is_json_names_the_planted_layers_and_what_was_checked(table):
    advice = map_tables.advice(table)
    one = json.loads(json.dumps(advice, allow_nan=False))["domains"]["drugs"]
    assert advice["layers"] == L and advice["model"] == "made up"
    assert one["known"] and one["basis"] == "minus control"
    touched = {layer for run in one["touch"] for layer in range(run["first"], run["last"] + 1)}
    assert {8, 9, 10} <= touched and all(0 < run["confidence"] <= 1 for run in one["touch"])
    assert one["checks"]["techniques_agree"] is True and one["checks"]["differs_from_control"] is True
    assert set(one["checks"]) == {"techniques_agree", "differs_from_control", "lesions_matter", "steering_matters"}
    assert set(one["maps"]) == {"plain", "minus_control"} and set(one["maps"]["plain"]) == set(map_tables.LANES)


def test_there_is_no_advice_on_what_the_model_does_not_know(table):
    ignorant = table.assign(value=table["value"].where(table["metric"] != "known", 0.0))
    one = map_tables.advice(ignorant)["domains"]["drugs"]
    assert one["known"] is False and one["touch"] == [] and one["checks"] == {}


def test_advice_from_the_table_of_another_chapter_is_refused():
    with pytest.raises(MedlibError, match="no table of a knowledge map"):
        map_tables.advice(made.lesion({"drugs": made.bump([5, 6])}))


# --- figures ----------------------------------------------------------------------------------------------------------


def test_a_lane_is_drawn_at_the_mapped_layers_grey_where_not_known_and_named_where_not_run(table, maps):
    _, axes = plt.subplots()
    ignorant = table.assign(
        value=table["value"].where((table["metric"] != "known") | (table["domain"] != "foods"), 0.0)
    )
    read = map_tables.read_back(ignorant, "plain")
    map_figures.lanes(axes, read[read["technique"] != "geometry"], ["drugs", "foods"], L)
    drawn = {name: [p for p in axes.patches if abs(p.get_y() - place) < 0.5] for place, name in enumerate(NAMES)}
    lesions = maps["plain"]["drugs", "lesion"].mask
    blue = [p for p in drawn["drugs"] if np.allclose(p.get_facecolor()[:3], map_figures.COLOURS["lesion"])]
    assert sorted(round(p.get_x() * L) + 1 for p in blue) == list(np.flatnonzero(lesions) + 1)
    assert {p.get_facecolor()[:3] for p in drawn["foods"]} == {(0.7, 0.7, 0.7)}
    assert [text.get_text() for text in axes.texts] == [" geometry: not run"] * 2
    assert [label.get_text() for label in axes.get_yticklabels()] == ["drugs", "foods,\nnot known"]
    plt.close("all")


def test_a_difference_that_does_not_stand_out_is_outlined(table):
    faint = table.assign(value=table["value"].where(table["metric"] != "difference_q", 1.0))
    for one, filled in ((table, True), (faint, False)):
        _, axes = plt.subplots()
        map_figures.lanes(axes, map_tables.read_back(one, "minus control"), ["drugs"])
        lanes = [patch for patch in axes.patches if patch.get_height() > 0.1]
        assert {bool(patch.get_fill()) for patch in lanes} == {filled}
    plt.close("all")


def test_every_figure_draws_from_made_up_numbers(table, maps):
    figures.style()
    tables, known = made.everything(), {"drugs": True, "foods": False}
    found = {(name, kind): effect(MASK).assign(random=0.0) for name in NAMES for kind in validation.KINDS}
    judged = validation.table(found, maps, CONTROLS, known, 2)
    stable = mapping.stability(tables, NAMES, maps["plain"], n=10)
    map_figures.two_maps(*(map_tables.read_back(table, name) for name in maps), ["drugs"])
    map_figures.likeness(mapping.among_domains(maps["plain"], CONTROLS, n=49), stable, ["drugs"], known)
    map_figures.agreement(map_tables.agreements(maps, NAMES, CONTROLS, n=49).query("map == 'plain'"), CONTROLS, known)
    _, axes = map_figures.beaten(judged, ["drugs"], validation.KINDS)
    assert len(axes) == 3
    curves = map_tables.effect_rows(found)
    _, axes = map_figures.effect_curves(curves, CONTROLS, known, {"drugs": MASK}, "steering", "logits")
    assert len(axes["drugs"].get_lines()) == 4  # domain, control, random direction, zero
    plt.close("all")


# --- prose ------------------------------------------------------------------------------------------------------------


def likeness(control, half, chance=0.1):
    among = pd.DataFrame([("drugs", "lesion", control, chance, 0.5, 0.3, L)], columns=AMONG)
    stable = pd.DataFrame(
        [("drugs", "lesion", "half of the items", half)], columns=["domain", "technique", "change", "overlap"]
    )
    return map_prose.own_map(among, stable, ["drugs"])


AMONG = ["domain", "technique", "control", "chance", "p", "others", "n"]


def test_the_verdict_turns_with_what_the_control_shares():
    assert likeness(0.8, 0.9)["verdict"][1].startswith("The plain map is mostly one of the model, not of medicine: ")
    assert likeness(0.2, 0.9)["verdict"][1].startswith("The map is the domains' own: ")
    assert "overlap by 0.20 with those of the control, by 0.90 between two halves" in likeness(0.2, 0.9)["verdict"][1]
    nothing = map_prose.own_map(
        pd.DataFrame(columns=AMONG), pd.DataFrame(columns=["domain", "technique", "change", "overlap"]), []
    )
    assert nothing["verdict"][0] == "none"


def test_what_stands_out_is_set_beside_two_controls():
    medical = pd.DataFrame(
        [("drugs", "lesion", 0.01, 0.02), ("drugs", "saliency", 0.4, 0.4)], columns=["domain", "technique", "p", "q"]
    )
    always, never = medical.assign(p=0.01), medical.assign(p=0.9)
    assert map_prose.stands_out(medical, always, ["drugs"])["stand_out"][1] == "1 of 2"
    said = [map_prose.stands_out(medical, one, ["drugs"])["controls_stand_out"][1] for one in (always, never)]
    assert said == ["2 of 2, so that another topic and wording are enough", "0 of 2, less often than medicine does"]


def test_domains_in_which_mapped_layers_matter_are_counted_by_kind_map_and_scope():
    rows = [
        ("drugs", "steering", "plain", "consensus", "all layers", 0.99, 0.01),
        ("age", "steering", "plain", "consensus", "all layers", 0.60, 0.40),
        ("age", "steering", "plain", "consensus", "past the first 2", 0.99, 0.02),
        ("age", "steering", "plain", "lesion", "all layers", 0.99, 0.01),
        ("dosage", "steering", "plain", "consensus", "all layers", 0.99, 0.01),
    ]
    judged = pd.DataFrame(rows, columns=["domain", "kind", "map", "technique", "scope", "beaten", "p"])
    found = map_prose.matters(judged, ["drugs", "age"])
    assert found["steering"] == (1, "1 of 2 domains (drugs)")
    assert found["steering_late"] == (1, "1 of 1 domains (age)")
    assert found["lesion_beyond"] == (0, "0 of 0 domains")


def test_what_is_grey_is_said():
    assert map_prose.knowledge({"drugs": False}, ["drugs"]).endswith("a wrong one: drugs.")
    assert map_prose.knowledge({"drugs": True}, ["drugs"]).startswith("Nothing is grey")
    assert "is unknown what it knows" in map_prose.knowledge({}, ["drugs"])


def test_layers_are_spoken_as_runs(maps):
    cell = maps["plain"]["drugs", "geometry"]
    assert map_prose.spoken(cell) == "8 to 10"
    assert map_prose.spoken(cell._replace(status="not run")) == ""


def test_every_number_of_the_prose_has_a_value_and_words(maps):
    tables, known = made.everything(), {"drugs": True, "foods": True}
    found = {(name, kind): effect(2 * MASK) for name in NAMES for kind in validation.KINDS}
    judged = validation.table(found, maps, CONTROLS, known, 2)
    whole = map_tables.agreements(maps, NAMES, CONTROLS, n=199)
    stable = mapping.stability(tables, NAMES, maps["plain"], n=10)
    tested = map_tables.corrected(maps["minus control"])
    agreed = {name: {"drugs": mapping.consensus(cells, "drugs")} for name, cells in maps.items()}
    among = mapping.among_domains(maps["plain"], CONTROLS, n=49)
    numbers = map_prose.numbers(among, stable, whole, tested, tested, judged, agreed, CONTROLS, known)
    assert all(isinstance(text, str) and text for _, text in numbers.values())
    assert numbers["agree"] == (1, "1 of 1 known medical domains (drugs)")
    assert numbers["agree_controls"][1] == "1 of 1 known controls (foods)"
    assert numbers["stand_out"][1] == "4 of 4" and numbers["layers_plain"][1].startswith("drugs ")
    assert numbers["steering"][1].split(" (")[0].endswith("of 1 domains")
    shown = map_prose.judged_table(judged)
    assert (shown["layers"] > 0).all() and shown["random runs beaten"].str.contains(" to ").all()
    words = map_prose.intervals(map_tables.layers(maps["plain"], NAMES), known | {"foods": False})
    assert words.loc["drugs", "geometry"].startswith("8–10 (") and "foods (not known)" in words.index
    assert len(map_prose.pairs_table(mapping.pairs_of_techniques(maps["plain"], "drugs", n=49))) == 6
