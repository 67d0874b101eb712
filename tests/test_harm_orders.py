"""The order of the layers: agreement with plain computations, and planted orders that are shared or a domain's own."""

import numpy as np
import pandas as pd
import pytest
from test_harm import LAYERS, table

from medlib import MedlibError, stats
from medlib.chapters.lesion import orders


def test_rank_correlation_of_two_samples_is_spearman_of_their_means_and_its_interval_grows_with_noise():
    a, b = LAYERS.astype(float), LAYERS[[1, 0, 2, 3, 4, 5, 6, 7, 9, 8]].astype(float)
    exact = orders.rank_between(table(a), table(b, 5), "kl")
    assert exact == pytest.approx([stats.spearman(a, b)] * 3)
    noisy = orders.rank_between(table(a, noise=3), table(b, noise=3, seed=1), "kl")
    assert noisy.low < noisy.value <= 1 and noisy.high - noisy.low > 0.05
    with pytest.raises(MedlibError, match="10 and 9 layers"):
        orders.rank_between(table(a), table(b).query("layer < 10"), "kl")
    with pytest.raises(MedlibError, match="2 units"):
        orders.rank_between(table(a, 2), table(b), "kl")


def test_two_halves_agree_fully_without_noise_and_not_at_all_without_signal():
    assert orders.rank_of_halves(table(LAYERS.astype(float)), "kl") == pytest.approx([1, 1, 1])
    assert abs(orders.rank_of_halves(table(np.zeros(10), 40, noise=1), "kl").value) < 0.75
    many = [orders.rank_of_halves(table(np.zeros(10), 12, 1.0, seed), "kl", n=50).value for seed in range(30)]
    assert abs(np.mean(many)) < 0.15


def test_orders_hold_each_domain_against_its_halves_its_control_and_neutral_text():
    tables = {"drugs": table(LAYERS * 1.0), "foods": table(LAYERS[::-1] * 1.0)}
    texts = table(LAYERS * 2.0, 5, templates=1).rename(columns={"kl": "rise"})
    found = orders.orders(tables, {"drugs": "foods"}, texts).set_index("variant").value
    expected = {"two halves of its items": 1, "two of its templates": 1, "its control": -1, "neutral text": 1}
    assert found.to_dict() == pytest.approx(expected)
    tables = {name: one.query("variant == 'v0'") for name, one in tables.items()}
    assert "two of its templates" not in set(orders.orders(tables, {"drugs": "foods"}, texts).variant)


def test_two_wordings_agree_as_the_median_pair_of_templates_does():
    curves = [LAYERS, LAYERS, LAYERS[::-1], LAYERS[[1, 0, 2, 3, 4, 5, 6, 7, 9, 8]]]
    parts = [table(curve * 1.0, templates=1).assign(variant=f"v{i}") for i, curve in enumerate(curves)]
    found = orders.rank_of_wordings(pd.concat(parts[:3]), "kl")
    assert found.value == pytest.approx(-1)
    found = orders.rank_of_wordings(pd.concat([parts[0], parts[1], parts[3]]), "kl")
    assert found.value == pytest.approx(stats.spearman(curves[0], curves[3]))
    assert orders.rank_of_wordings(parts[0], "kl") is None


def test_controls_are_held_against_each_other_and_domains_against_the_controls_of_others():
    up, down = LAYERS * 1.0, LAYERS[::-1] * 1.0
    tables = {"drugs": table(up), "foods": table(down), "age": table(up), "numbers": table(up)}
    found = orders.among_controls(tables, {"drugs": "foods", "age": "numbers"})
    assert found.set_index("domain").value.to_dict() == pytest.approx({"a control": -1, "drugs": 1, "age": -1})
    assert found.variant.tolist() == ["foods with numbers", "numbers", "foods"]
    assert "a control" not in set(orders.among_controls(tables, {"drugs": "foods"}).domain)


def test_an_order_that_the_control_shares_is_not_beyond_wording_and_one_of_its_own_is():
    own, other = LAYERS * 1.0, LAYERS[[3, 0, 5, 1, 8, 2, 9, 6, 4, 7]] * 1.0
    tables = {
        "drugs": table(own, noise=0.3),
        "foods": table(other, noise=0.3, seed=1),
        "age": table(own, noise=0.3, seed=2),
        "numbers": table(own, noise=0.3, seed=3),
        "dosage": table(own, noise=0.3, seed=4, templates=1),
    }
    found = orders.beyond_wording(tables, {"drugs": "foods", "age": "numbers", "dosage": "numbers"})
    found = found.set_index("domain")
    assert [*found.index] == ["drugs", "age"]
    assert found.low["drugs"] > 0.1 and found.low["age"] <= 0 <= found.high["age"]
    np.testing.assert_allclose(found.value, found.own - found.control)
    exact = orders.beyond_wording({"drugs": table(own), "foods": table(other)}, {"drugs": "foods"}).iloc[0]
    assert exact.own == pytest.approx(1) and exact.control == pytest.approx(stats.spearman(own, other))


def test_an_order_is_called_a_domains_own_in_few_of_many_tries_where_there_is_nothing_of_its_own():
    tries = [
        orders.beyond_wording(
            {"drugs": table(LAYERS, noise=4, seed=seed), "foods": table(LAYERS, noise=4, seed=500 + seed)},
            {"drugs": "foods"},
            n=200,
        )
        for seed in range(40)
    ]
    assert (pd.concat(tries).low > 0).mean() <= 0.15
