"""The harm by domain: agreement with plain computations, planted differences, and what stands for no harm."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model

import medlib
from medlib import MedlibError, hooks, lesion, stats
from medlib.chapters.lesion import harm

LAYERS = np.arange(1, 11)


def table(curve, units=12, noise=0.0, seed=0, templates=2):
    generator = np.random.default_rng(seed)
    rows = [
        dict(item=f"i{unit}", variant=f"v{t}", cluster=f"c{unit}", layer=layer, kl=value + noise * generator.normal())
        for unit in range(units)
        for t in range(templates)
        for layer, value in zip(LAYERS, curve, strict=True)
    ]
    return pd.DataFrame(rows)


def questions(prompts, answers):
    items = [f"i{i}" for i in range(len(prompts))]
    return pd.DataFrame(dict(item=items, variant="v", cluster=items, prompt=prompts, answer=answers))


PROMPTS, ANSWERS = ["w1 w2 w3 w4", "w9 w8 w7", "w20 w21 w22 w23", "w5 w6"], [" w30", " w31", " w32", " w33"]


def test_a_sweep_knows_whose_prompt_each_row_is_and_what_later_blocks_make_up_for():
    model, asked = tiny_model(), questions(PROMPTS, ANSWERS).iloc[::-1]
    found = harm.sweep(model, asked)
    plain = medlib.lesion_sweep(model, PROMPTS, ANSWERS)
    at = found.set_index(["item", "layer"])
    for row in plain.itertuples():
        assert at.kl[f"i{row.prompt}", row.layer] == pytest.approx(row.kl, abs=1e-5)
    assert found.repair.equals(found.direct_drop - found.logit_drop) and found.attrs["no_op"] < 1e-3
    assert harm.sweep(model, asked, answers=False).repair.isna().all()


def test_nine_ways_are_the_nine_sweeps_and_the_first_is_not_computed_again(monkeypatch):
    model, asked = tiny_model(), questions(PROMPTS, ANSWERS)
    done = harm.sweep(model, asked)
    calls = []
    monkeypatch.setattr(harm, "sweep", lambda *a, sweep=harm.sweep, **k: calls.append(k) or sweep(*a, **k))
    found = harm.ways(model, asked.iloc[:3], done, seed=2, stride=2)
    assert len(calls) == 8 and sorted(found.layer.unique()) == [1, 3]
    for (component, how), part in found.groupby(["component", "how"]):
        plain = medlib.lesion_sweep(model, PROMPTS[:3], how=how, component=component, seed=2).query("layer != [2, 4]")
        np.testing.assert_allclose(part.sort_values(["item", "layer"]).kl, plain.kl, atol=1e-5, rtol=1e-4)


def test_a_way_that_orders_the_layers_the_other_way_round_has_a_rank_correlation_of_minus_one():
    ways = [(c, h) for c in lesion.COMPONENTS for h in lesion.HOWS]
    one = table(LAYERS * 1.0)
    turned = one.assign(kl=-one["kl"])
    parts = [(turned if way == ("mlp", "mean") else one).assign(component=way[0], how=way[1]) for way in ways]
    curves = harm.curves_of_ways({"drugs": pd.concat(parts)})
    found = harm.agreement_of_ways(curves).loc["drugs"]
    assert len(found) == 8 and found["mlp", "mean"] == pytest.approx(-1) and found.drop(("mlp", "mean")).min() > 0.999


def test_every_second_block_is_lesioned_as_in_a_sweep_of_all():
    model = tiny_model()
    every = medlib.lesion_sweep(model, PROMPTS, ANSWERS).set_index(["prompt", "layer"])
    some = medlib.lesion_sweep(model, PROMPTS, ANSWERS, stride=3).set_index(["prompt", "layer"])
    assert [*some.loc[0].index] == [1, 4]
    pd.testing.assert_frame_equal(some, every.loc[some.index], rtol=1e-4, atol=1e-5)
    with pytest.raises(MedlibError, match="stride=0"):
        medlib.lesion_sweep(model, PROMPTS, stride=0)


def test_a_planted_difference_is_found_at_its_layer_and_nowhere_else():
    flat = np.full(10, 2.0)
    tables = {
        "drugs": table(flat + 3.0 * (LAYERS == 4), noise=0.3),
        "foods": table(flat, noise=0.3, seed=1),
        "age": table(flat, noise=0.3, seed=2),
        "numbers": table(flat, noise=0.3, seed=3),
    }
    found = harm.differences(tables, {"drugs": "foods", "age": "numbers"}, "kl", n=1999)
    low = found[found.q < 0.05]
    assert [*zip(low.domain, low.layer, strict=True)] == [("drugs", 4)] and low.value.iloc[0] == pytest.approx(
        3, abs=0.4
    )
    np.testing.assert_allclose(found.q, stats.benjamini_hochberg(found.p))
    assert (found.groupby("domain").variant.first() == ["minus numbers", "minus foods"]).all()


def test_shuffling_holds_its_level_where_there_is_no_difference():
    p = np.concatenate(
        [
            harm.shuffled_p(table(np.ones(10), 8, 1.0, seed), table(np.ones(10), 8, 1.0, 1000 + seed), "kl", n=199)
            for seed in range(60)
        ]
    )
    assert 0.02 < (p <= 0.05).mean() < 0.085


def test_rank_correlation_of_two_samples_is_spearman_of_their_means_and_its_interval_grows_with_noise():
    a, b = LAYERS.astype(float), LAYERS[[1, 0, 2, 3, 4, 5, 6, 7, 9, 8]].astype(float)
    exact = harm.rank_between(table(a), table(b, 5), "kl")
    assert exact == pytest.approx([stats.spearman(a, b)] * 3)
    noisy = harm.rank_between(table(a, noise=3), table(b, noise=3, seed=1), "kl")
    assert noisy.low < noisy.value <= 1 and noisy.high - noisy.low > 0.05
    with pytest.raises(MedlibError, match="10 and 9 layers"):
        harm.rank_between(table(a), table(b).query("layer < 10"), "kl")
    with pytest.raises(MedlibError, match="2 units"):
        harm.rank_between(table(a, 2), table(b), "kl")


def test_two_halves_agree_fully_without_noise_and_not_at_all_without_signal():
    assert harm.rank_of_halves(table(LAYERS.astype(float)), "kl") == pytest.approx([1, 1, 1])
    assert abs(harm.rank_of_halves(table(np.zeros(10), 40, noise=1), "kl").value) < 0.75
    many = [harm.rank_of_halves(table(np.zeros(10), 12, 1.0, seed), "kl", n=50).value for seed in range(30)]
    assert abs(np.mean(many)) < 0.15


def test_the_worst_layer_and_the_share_of_the_first_half_are_those_of_the_mean_curve():
    curve = np.array([9.0, 1, 1, 1, 1, 5, 1, 0, -1, 0])
    found = harm.depths({"drugs": table(curve)}).set_index("metric")
    assert found.value["peak_layer"] == 1 and found.value["early_half"] == pytest.approx(13 / 19)
    later = harm.depths({"drugs": table(curve)}, early=2).set_index("metric")
    assert later.value["peak_layer"] == later.low["peak_layer"] == 6
    assert later.value["early_half"] == pytest.approx(3 / 9)


def test_orders_hold_each_domain_against_its_halves_its_control_and_neutral_text():
    tables = {"drugs": table(LAYERS * 1.0), "foods": table(LAYERS[::-1] * 1.0)}
    texts = table(LAYERS * 2.0, 5, templates=1).rename(columns={"kl": "rise"})
    found = harm.orders(tables, {"drugs": "foods"}, texts).set_index("variant").value
    expected = {"two halves of its items": 1, "two of its templates": 1, "its control": -1, "neutral text": 1}
    assert found.to_dict() == pytest.approx(expected)
    tables = {name: one.query("variant == 'v0'") for name, one in tables.items()}
    assert "two of its templates" not in set(harm.orders(tables, {"drugs": "foods"}, texts).variant)


def test_two_wordings_agree_as_the_median_pair_of_templates_does():
    curves = [LAYERS, LAYERS, LAYERS[::-1], LAYERS[[1, 0, 2, 3, 4, 5, 6, 7, 9, 8]]]
    parts = [table(curve * 1.0, templates=1).assign(variant=f"v{i}") for i, curve in enumerate(curves)]
    found = harm.rank_of_wordings(pd.concat(parts[:3]), "kl")
    assert found.value == pytest.approx(-1)
    found = harm.rank_of_wordings(pd.concat([parts[0], parts[1], parts[3]]), "kl")
    assert found.value == pytest.approx(stats.spearman(curves[0], curves[3]))
    assert harm.rank_of_wordings(parts[0], "kl") is None


def test_what_is_written_is_graded_and_comes_with_the_divergence_of_its_own_prompt():
    model, asked = tiny_model(), questions(PROMPTS, ANSWERS)
    found = harm.sweep(model, asked)
    texts = harm.written(model, asked.iloc[1:3], found, [2, 3], lambda rows: [1 + i for i in range(len(rows))], 3)
    assert texts.grade.tolist() == [1, 2, 3, 4] and texts.layer.tolist() == [2, 2, 3, 3]
    for row in texts.itertuples():
        assert row.kl == found.query("item == @row.item and layer == @row.layer").kl.item()


def test_neutral_text_rises_only_at_the_one_working_block():
    model = tiny_model()
    with hooks.only(model, 3):
        rise = harm.neutral_text(model, PROMPTS[:3]).groupby("layer").rise.apply(lambda r: r.abs().max())
    assert rise.idxmax() == 3 and rise.drop(3).max() < 1e-4 and len(lesion.HOWS) == 3


def test_few_questions_are_in_one_template_and_of_as_many_clusters():
    items = [f"i{i}" for i in range(30)]
    one = pd.DataFrame(dict(item=items, variant="v", cluster=[f"c{i % 4}" for i in range(30)], prompt="w1"))
    asked = pd.concat([one, one.assign(variant="other")])
    for seed in range(10):
        few = harm.one_template(asked, 3, seed)
        assert len(few) == few.cluster.nunique() == 3 and (few.variant == "v").all()
