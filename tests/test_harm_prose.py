"""The numbers of the prose: counts by hand, ranges in words, and sentences that turn with the numbers."""

import pandas as pd
import pytest
from test_harm import LAYERS

from medlib import lesion
from medlib.chapters.lesion import harm_prose, orders

CONTROLS = {"drugs": "foods", "age": "numbers"}
NAMES = ["drugs", "foods", "age", "numbers"]


def places(**peaks):
    rows = []
    for how in lesion.HOWS:
        for name, peak in zip(NAMES, peaks.get(how, [6, 6, 6, 6]), strict=True):
            rows += [(name, "peak_layer", peak, peak - 1, peak + 1, 0.5, how)]
            rows += [(name, "early_half", 0.25, 0.2, 0.3, 0.5, how)]
    return pd.DataFrame(rows, columns=["domain", "metric", "value", "low", "high", "even", "how"])


def by_way():
    at = {"identity": 10.0, "mean": 1.0, "resample": 0.5}
    rows = [
        dict(domain=name, component="block", how=how, layer=layer, value=at[how] + i)
        for how in lesion.HOWS
        for i, name in enumerate(NAMES)
        for layer in LAYERS
    ]
    return pd.DataFrame([*rows, rows[0] | dict(component="mlp", value=99.0)])


AGREEMENT = pd.DataFrame(
    {("block", how): {"drugs": 0.3, "age": 0.8, "foods": -1.0, "numbers": 1} for how in ("mean", "resample")}
)


def texts(found):
    return {key: words for key, (_, words) in found.items()}


def test_the_table_of_places_has_a_row_for_each_domain_with_its_control_below_and_intervals():
    found = harm_prose.places_table(places(resample=[8, 6, 6, 6]), by_way(), CONTROLS)
    assert [*found.index] == NAMES
    assert found.loc["drugs", ("another prompt", "worst layer")] == "8 (7 to 9)"
    assert found.loc["foods", ("absent", "KL there")] == "11.00"
    assert found.loc["age", ("mean", "first half")] == "25% (20% to 30%)"


def test_the_ways_are_told_by_the_layer_that_most_domains_name_and_what_it_costs_in_each():
    told = texts(harm_prose.of_ways(places(resample=[8, 9, 8, 9]), by_way(), AGREEMENT, CONTROLS))
    assert told["verdict"].startswith("That depends on what takes its place") and "in 0 of 4 domains" in told["verdict"]
    assert told["peak_absent"] == "layer 6 (4 of 4)" and told["even"] == "50%"
    assert told["survives"] == "layer 8 in medicine (2 of 2 domains) and at layer 9 in the controls (2 of 2)"
    assert (told["cost_identity"], told["cost_mean"], told["cost_resample"]) == ("10 to 13", "1 to 4", "0.5 to 3.5")
    assert told["half_mean"] == "25%" and told["rank_mean"] == "0.30 to 0.80"
    told = texts(harm_prose.of_ways(places(), by_way(), AGREEMENT, CONTROLS))
    assert told["verdict"].startswith("Much the same whatever takes its place") and "4 of 4" in told["verdict"]
    assert told["survives"].endswith("alike")


def test_differences_are_counted_after_correction_under_each_way():
    row = dict(domain="drugs", variant="minus foods", low=0.0, high=2.0, p=0.5)
    differences = pd.DataFrame(
        [
            row | dict(how="identity", layer=1, value=5.0, q=0.01),
            row | dict(how="identity", layer=2, value=-1.0, q=0.04),
            row | dict(how="resample", layer=1, value=0.1, q=0.06),
            row | dict(how="resample", layer=2, value=0.2, q=0.05),
        ]
    )
    told = texts(harm_prose.of_controls(differences))
    assert [told[key] for key in ("n_tests", "higher_identity", "lower_identity")] == ["2", "1", "1"]
    assert [told[key] for key in ("higher_resample", "lower_resample")] == ["0", "0"]
    assert told["excess_resample"] == "+0.20 nats (+0.00 to +2.00) at layer 2 on drugs minus foods"


def test_the_control_explains_an_order_where_the_interval_of_the_difference_reaches_zero():
    rows = [(d, v, x) for d, x in (("drugs", 0.5), ("age", 0.75)) for v in (orders.CONTROL, orders.NEUTRAL)]
    table = pd.DataFrame([*rows, ("drugs", orders.HALVES, 0.9)], columns=["domain", "variant", "value"])
    unmatched = pd.DataFrame(dict(domain=["a control", "drugs"], value=[0.65, 0.2]))
    beyond = pd.DataFrame(dict(domain=["drugs", "age"], own=[0.8, 0.9], control=[0.6, 0.9], low=[0.1, -0.1]))
    told = texts(harm_prose.of_orders(table, unmatched, beyond))
    assert "agrees as well in age (0.90 against 0.90), and less well in drugs (0.60 against 0.80)" in told["wording"]
    assert (told["rank_control"], told["rank_halves"]) == ("0.50 to 0.75", "0.90")
    assert told["rank_templates"].startswith("not known") and told["rank_controls"] == "0.65"
    assert told["rank_unmatched"] == "0.20"
    none = texts(harm_prose.of_orders(table, unmatched[1:], beyond[:0]))
    assert none["rank_controls"] == "not known" and none["wording"].startswith("No domain has two wordings")


def repair_rows(direct, total, low, high, layer, domain="drugs"):
    row = dict(domain=domain, layer=layer, low=low, high=high)
    values = {"direct_drop": direct, "logit_drop": total, "repair": direct - total}
    return [row | dict(metric=metric, value=value) for metric, value in values.items()]


def test_only_a_direct_loss_that_does_not_turn_into_a_gain_can_be_repaired():
    cases = [
        repair_rows(2.0, 1.0, 0.5, 1.5, 1),  # repaired
        repair_rows(2.0, 1.0, -0.5, 1.5, 2),  # perhaps not
        repair_rows(1.0, -1.0, 0.5, 3.5, 3),  # total below zero
        repair_rows(-0.1, -1.0, 0.5, 1.5, 4),  # no direct loss
        repair_rows(-1.0, 2.0, -4.0, -2.0, 5),  # all through later layers
        repair_rows(0.9, 2.0, -1.5, -0.7, 6),  # more than half of it
        repair_rows(1.5, 2.0, -0.7, -0.3, 7),  # less than half
        repair_rows(2.0, 1.0, 0.5, 1.5, 8, "foods"),  # a control
        *(repair_rows(1.0, 1.0, -1.0, 1.0, layer) for layer in range(9, 22)),
    ]
    found = harm_prose.of_repair(pd.DataFrame(sum(cases, [])), CONTROLS)
    assert found["repair"][0] == 1 and found["n_through"] == (2, "2")
    assert (
        found["repair"][1].startswith("Self-repair is rare: in 1 of 20 places")
        and "0.5 expected" in texts(found)["repair"]
    )
    often = harm_prose.of_repair(pd.DataFrame(sum(cases[:2], [])), CONTROLS)
    assert often["repair"][1].startswith("There is self-repair: in 1 of 2 places")


def test_the_mlp_is_the_worse_part_where_it_costs_more_on_a_layer_and_domain():
    rows = [
        dict(layer=layer, component=part, how=how, kl=value)
        for how in ("identity", "resample")
        for layer in range(1, 5)
        for part, value in (("attention", 1.0), ("mlp", 2.0 if layer > 1 or how == "resample" else 0.5), ("block", 9.0))
    ]
    found = harm_prose.of_parts({"drugs": pd.DataFrame(rows)}, ["drugs"])
    assert found == {"mlp_worse_identity": (pytest.approx(0.75), "75%"), "mlp_worse_resample": (1.0, "100%")}
