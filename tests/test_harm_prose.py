"""The numbers of the answer: counts by hand, ranges in words, and a figure with a point for each comparison."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from test_harm import LAYERS, table

from medlib.chapters.lesion import harm, harm_prose

CONTROLS = {"drugs": "foods", "age": "numbers"}
TABLES = {
    "drugs": table(np.array([9.0, 1, 1, 1, 1, 5, 1, 1, 1, 1])),
    "foods": table(np.array([9.0, 1, 1, 1, 1, 3, 1, 1, 1, 1])),
    "age": table(np.array([1.0, 8, 1, 1, 1, 5, 1, 1, 1, 2])),
    "numbers": table(np.array([8.0, 1, 1, 4, 1, 1, 1, 1, 1, 1])),
}
DEPTHS = {early: harm.depths(TABLES, early=early) for early in (0, 2)}


def curves():
    repair = {"drugs": 1.0, "age": -1.0}
    tables = {
        name: one.assign(repair=repair.get(name, 5.0), top1_same=one["layer"] > 3) for name, one in TABLES.items()
    }
    return harm.curves(tables, ["kl", "repair", "top1_same"])


def test_the_peaks_are_those_of_each_domain_and_control_with_and_without_the_first_layers():
    found = harm_prose.peaks(curves(), DEPTHS, CONTROLS, 10)
    assert [*found.index] == ["drugs", "foods", "age", "numbers"]
    assert found["worst layer"].tolist() == [1, 1, 2, 1] and found["worst after 2"].tolist() == [6, 6, 6, 4]
    assert found["KL"].tolist() == [9, 9, 8, 8] and found["KL there"].tolist() == [5, 3, 5, 4]
    assert found["depth"].tolist() == [0.6, 0.6, 0.6, 0.4] and (found["kept"] == 0).all()
    assert found.loc["age", "interval"] == "6 to 6"


def test_the_answer_counts_and_gives_ranges_over_the_medical_domains():
    differences = pd.DataFrame(
        dict(
            domain=["drugs", "drugs", "age", "age"],
            variant="minus x",
            layer=[1, 2, 1, 2],
            value=[1.0, -2.0, 0.5, 0.0],
            low=[0.5, -3.0, -1.0, -1.0],
            high=[2.0, -1.0, 1.0, 1.0],
            p=[0.01, 0.001, 0.04, 0.9],
            q=[0.02, 0.004, 0.053, 0.9],
        )
    )
    orders = pd.DataFrame(
        [(d, v, x, 0, 1) for d, x in (("drugs", 0.5), ("age", 0.75)) for v in ("its control", "neutral text")],
        columns=["domain", "variant", "value", "low", "high"],
    )
    orders = pd.concat([orders, orders.assign(variant="two halves of its items", value=0.9)])
    ways = pd.DataFrame({("block", how): {"drugs": 0.3, "age": 0.8, "foods": -1.0} for how in ("mean", "resample")})
    found = harm_prose.answer(curves(), differences, orders, ways, DEPTHS, CONTROLS, 2)
    text = {key: words for key, (_, words) in found.items()}
    assert text["peaks"] == "layer 1 in 1 of 2" and text["peaks_control"] == "layer 1 in 2 of 2"
    assert [text[key] for key in ("n_tests", "n_higher", "n_lower", "n_uncorrected")] == ["4", "1", "1", "3"]
    assert text["excess"] == "+1.00 nats (+0.50 to +2.00) at layer 1 on drugs minus x"
    assert (text["rank_control"], text["rank_halves"], text["rank_mean"]) == ("0.50 to 0.75", "0.90", "0.30 to 0.80")
    assert text["rank_templates"].startswith("not known")
    assert text["n_repaired"] == text["n_deepened"] == str(len(LAYERS))
    assert text["median_kl"] == "1.00" and text["early_half"] == "23% to 25%"


def test_the_worse_part_is_the_one_that_costs_more_on_most_layers():
    rows = [
        dict(domain="drugs", layer=layer, component=part, how="identity", value=value)
        for layer in range(1, 5)
        for part, value in (("attention", 1.0), ("mlp", 2.0 if layer > 1 else 0.5), ("block", 9.0))
    ]
    by_way = pd.DataFrame(rows)
    assert harm_prose.worse_part(by_way, ["drugs"]) == ("the MLP", 0.75, "75%")
    by_way.loc[by_way["component"] == "mlp", "value"] = 0
    assert harm_prose.worse_part(by_way, ["drugs"]) == ("attention", 1.0, "100%")


def test_orders_are_drawn_as_points_at_their_values_and_grey_where_not_known():
    texts = TABLES["age"].rename(columns={"kl": "rise"})
    orders = harm.orders(TABLES, CONTROLS, texts)
    figure, axes = plt.subplots(layout="constrained")
    harm_prose.draw_orders(axes, orders, {"drugs": True, "age": False})
    points = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert sorted(line.get_xdata()[0] for line in points) == sorted(orders["value"])
    assert {line.get_color() for line in points if line.get_ydata()[0] > 0.5} == {"0.7"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["drugs", "age, not known"]
    assert len(figure.legends[0].get_texts()) == 4


def test_panels_on_one_scale_hold_what_each_of_them_holds():
    _, (one, other) = plt.subplots(2)
    one.plot([0, 1], [-3, 1])
    other.plot([0, 1], [0, 8])
    harm_prose.one_scale({"drugs": one, "age": other}, linear=0.1)
    assert one.get_ylim() == other.get_ylim() and one.get_yscale() == "symlog"
    assert one.get_ylim()[0] <= -3 and one.get_ylim()[1] >= 8
