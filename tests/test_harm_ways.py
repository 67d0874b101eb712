"""Three ways to take a block out: they are the plain sweeps, and what they name is what was planted."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model
from test_harm import ANSWERS, LAYERS, PROMPTS, questions, table

import medlib
from medlib import lesion
from medlib.chapters.lesion import harm, ways

WAYS = [*(("block", how) for how in lesion.HOWS), *ways.PARTS]


def all_ways(curves):
    """Tables of all lesions, those named in `curves` with a curve of their own, the others 1 to 10."""
    return pd.concat(table(curves.get(way, LAYERS * 1.0)).assign(component=way[0], how=way[1]) for way in WAYS)


def test_seven_lesions_are_the_plain_sweeps_and_the_first_is_not_computed_again(monkeypatch):
    model, asked = tiny_model(), questions(PROMPTS, ANSWERS)
    done = harm.sweep(model, asked)
    calls = []
    monkeypatch.setattr(ways, "sweep", lambda *a, sweep=harm.sweep, **k: calls.append(k) or sweep(*a, **k))
    found = ways.ways(model, asked.iloc[:3], asked.iloc[:3], done, seed=2, stride=2)
    assert len(calls) == 6 and sorted(found.layer.unique()) == [1, 3]
    for (component, how), part in found.groupby(["component", "how"]):
        plain = medlib.lesion_sweep(model, PROMPTS[:3], how=how, component=component, seed=2).query("layer != [2, 4]")
        np.testing.assert_allclose(part.sort_values(["item", "layer"]).kl, plain.kl, atol=1e-5, rtol=1e-4)


def test_a_way_that_orders_the_layers_the_other_way_round_has_a_rank_correlation_of_minus_one():
    found = ways.agreement_of_ways({"drugs": all_ways({("mlp", "resample"): LAYERS[::-1] * 1.0})}).loc["drugs"]
    assert (
        len(found) == 6
        and found["mlp", "resample"] == pytest.approx(-1)
        and found.drop(("mlp", "resample")).min() > 0.999
    )


def test_a_way_is_held_against_the_absent_block_on_its_own_prompts():
    both = all_ways({})
    less = both[(both["component"] == "block") | (both["item"] == "i3")].copy()
    plain = (less["component"] == "block") & (less["how"] == "identity")
    less.loc[plain & (less["item"] != "i3"), "kl"] *= -9
    found = ways.agreement_of_ways({"drugs": less}).loc["drugs"]
    assert found["mlp", "resample"] == pytest.approx(1) and found["block", "mean"] == pytest.approx(-1)
    only = ways.on({"drugs": both}, {"drugs": pd.DataFrame(dict(item=["i3"], variant="v1"))})["drugs"]
    assert set(zip(only["item"], only["variant"], strict=True)) == {("i3", "v1")} and len(only) == 70


def test_each_template_is_a_list_of_its_own_from_which_other_prompts_and_means_are_taken():
    model, asked = tiny_model(), questions(PROMPTS, ANSWERS)
    two = pd.concat([asked, asked.assign(variant="w", prompt=[f"w9 {prompt}" for prompt in PROMPTS])])
    found = ways.ways(model, two, asked.iloc[:2], harm.sweep(model, two), seed=1)
    for how in ("mean", "resample"):
        whole = ways.of_blocks({"drugs": found}, how)["drugs"].query("variant == 'w'").sort_values(["item", "layer"])
        plain = medlib.lesion_sweep(model, [f"w9 {prompt}" for prompt in PROMPTS], how=how, seed=1)
        np.testing.assert_allclose(whole.kl, plain.kl, atol=1e-5, rtol=1e-4)


def test_a_difference_planted_under_one_way_is_found_under_that_way_alone():
    flat = np.full(10, 2.0)
    tables = {
        name: pd.concat(
            table(flat + 3.0 * peak * (how == "resample"), noise=0.3, seed=10 * i + j).assign(
                component="block", how=how
            )
            for j, how in enumerate(lesion.HOWS)
        )
        for i, (name, peak) in enumerate({"drugs": LAYERS == 4, "foods": LAYERS == 0}.items())
    }
    found = ways.differences_of_ways(tables, {"drugs": "foods"}, n=1999)
    clear = found[found["q"] < 0.05]
    assert [*zip(clear["how"], clear["layer"], strict=True)] == [("resample", 4)]
    assert set(found["metric"]) == {"kl_difference", "kl_mean_difference", "kl_resample_difference"}


def test_the_worst_layer_and_the_share_of_the_first_half_are_those_of_the_mean_curve():
    curve = np.array([9.0, 1, 1, 1, 1, 5, 1, 0, -1, 0])
    found = ways.depths({"drugs": table(curve)}).set_index("metric")
    assert found.value["peak_layer"] == 1 and found.value["early_half"] == pytest.approx(13 / 19)
    later = ways.depths({"drugs": table(curve)}, early=2).set_index("metric")
    assert later.value["peak_layer"] == later.low["peak_layer"] == 6
    assert later.value["early_half"] == pytest.approx(3 / 9) and later.even["early_half"] == 3 / 8


def test_places_are_named_under_each_way():
    found = ways.places({"drugs": all_ways({("block", "resample"): (LAYERS == 7) + 0.1})}, early=1)
    peaks = found[found["metric"] == "peak_layer"].set_index("how")["value"]
    assert peaks.to_dict() == {"identity": 10, "mean": 10, "resample": 7}
