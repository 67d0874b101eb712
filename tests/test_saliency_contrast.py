"""Which questions are asked, and what of a ratio is tested: planted levels and shapes, closed forms, refusals."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from medlib import MedlibError, concepts, stats
from medlib.chapters.saliency import saliency_contrast as contrast
from medlib.chapters.saliency import saliency_reference as reference
from medlib.chapters.saliency import saliency_tables as told
from medlib.chapters.saliency import sanity


def asked(answers, also=None, clusters=None):
    """Questions in two templates about as many items as there are answers."""
    also = also or [set()] * len(answers)
    clusters = clusters or [f"w{i}" for i in range(len(answers))]
    rows = [
        (f"w{i}", variant, f"{word} w{i}", answer, also[i], clusters[i])
        for i, answer in enumerate(answers)
        for variant, word in (("a", "w50"), ("b", "w51"))
    ]
    return pd.DataFrame(rows, columns=["item", "variant", "prompt", "answer", "also", "cluster"])


@pytest.fixture
def ask(monkeypatch, tiny):
    def ask(questions, n_items=100, seed=0):
        monkeypatch.setattr(concepts, "questions", lambda domain: questions)
        return contrast.ask(tiny, "mine", n_items, seed)

    return ask


def test_every_item_gets_one_answer_of_another_item_in_all_its_templates(ask):
    found = ask(asked([" w20", " w20", " w21", " w22", " w23", " w24"]))
    assert len(found) == 12 and (found["answer"] != found["other"]).all()
    assert set(found["other"]) <= set(found["answer"])
    assert (found.groupby("item")["other"].nunique() == 1).all()


def test_other_answers_come_as_often_as_own_ones_where_all_differ(ask):
    found = ask(asked([f" w{20 + i}" for i in range(8)]))
    assert sorted(found["answer"]) == sorted(found["other"])


def test_an_answer_that_could_be_right_too_or_begins_alike_is_no_other_answer(ask):
    also = [{" w21"}, set(), set(), set()]
    found = ask(asked([" w20", " w21", " w20 w1", " w22"], also)).set_index("item")
    assert set(found.loc["w0", "other"]) == {" w22"}
    assert set(found.loc["w2", "other"]) <= {" w21", " w22"}


def test_an_item_whose_drawn_fellows_are_all_right_for_it_too_gets_an_answer_from_the_rest_of_the_domain(ask):
    alike = {" w20", " w21", " w22"}
    questions = asked([" w20", " w21", " w22", " w23"], also=[alike, alike, alike, set()])
    found = [ask(questions, 3, seed) for seed in range(8)]
    assert all(one["item"].nunique() == 3 for one in found)
    without = next(one for one in found if "w3" not in set(one["item"]))
    assert set(without["other"]) == {" w23"}


def test_items_are_drawn_evenly_over_clusters(ask):
    questions = asked([f" w{20 + i}" for i in range(12)], clusters=["many"] * 9 + ["x", "y", "z"])
    for seed in range(5):
        assert ask(questions, 4, seed)["cluster"].nunique() == 4
    assert ask(questions, 4).equals(ask(questions, 4))
    assert {tuple(ask(questions, 4, seed)["item"]) for seed in range(5)} != {tuple(ask(questions, 4, 0)["item"])}


def test_a_domain_whose_items_share_one_answer_is_told_what_to_do(ask):
    with pytest.raises(MedlibError, match="begin with the same token.*rows to the domain's table whose answers differ"):
        ask(asked([" w20"] * 5))


@pytest.mark.parametrize("questions", [asked([" w20", " w21"]), asked([" w20", " w21", " w22"], clusters=list("aab"))])
def test_fewer_than_three_clusters_are_refused_with_what_to_do(ask, questions):
    with pytest.raises(MedlibError, match="2 clusters have .*Draw more items"):
        ask(questions)


def test_fewer_than_three_items_cannot_be_asked_for(ask):
    with pytest.raises(MedlibError, match="n_items is 2"):
        ask(asked([" w20", " w21", " w22"]), 2)


# --- measured ---------------------------------------------------------------------------------------------------------


def measured(effect, items=12, layers=6, modules=("q", "block"), seed=0):
    """A table as `measure` makes it: log saliency is `effect(answer, layer, module)` and noise of each prompt's."""
    generator = np.random.default_rng(seed)
    rows = []
    for prompt in range(2 * items):
        item, variant = divmod(prompt, 2)
        for answer in ("own", "other"):
            level = generator.normal()
            for layer in range(1, layers + 1):
                for module in modules:
                    log = effect(answer, layer, module) + level + 0.05 * generator.normal()
                    rows.append((prompt, f"w{item}", f"t{variant}", f"w{item}", layer, module, answer, "grad", log))
    columns = ["prompt", "item", "variant", "cluster", "layer", "module", "answer", "kind", "log"]
    return pd.DataFrame(rows, columns=columns).assign(saliency=lambda table: np.exp(table["log"]))


def flat(answer, layer, module):
    return float(layer)


def test_the_questions_measured_are_the_questions_asked(ask, tiny):
    questions = ask(asked([f" w{20 + i}" for i in range(4)]))
    table = contrast.measure(tiny, questions)
    assert table.attrs["no_op"] < 1e-3
    keys = ["item", "variant", "answer", "kind", "layer", "module"]
    assert not table.duplicated(keys).any()
    assert len(contrast.select(table)) == len(questions) * tiny.n_layers
    np.testing.assert_allclose(np.exp(table["log"]), table["saliency"])


def test_a_ratio_is_that_of_geometric_means_and_its_level_their_mean_over_layers():
    one, other = measured(lambda a, layer, m: layer + np.log(3)), measured(flat, seed=1)
    found = contrast.ratio(one, other)
    logs = [contrast.select(table).groupby("layer")["log"].mean() for table in (one, other)]
    np.testing.assert_allclose(found["value"], np.exp(logs[0] - logs[1]))
    assert (found["low"] < found["value"]).all() and (found["value"] < found["high"]).all()
    level = contrast.level(one, other)
    assert level.value == pytest.approx(float(np.exp((logs[0] - logs[1]).mean())))
    assert level.low < level.value < level.high


def test_a_factor_on_all_layers_moves_the_level_and_no_shape():
    one, other = measured(lambda a, layer, m: layer + 5.0), measured(flat)
    found = contrast.compare_shapes(contrast.shape(one), contrast.shape(other), n=99)
    np.testing.assert_allclose(found["value"], 0, atol=1e-12)
    assert contrast.level(one, other).value == pytest.approx(np.exp(5))


def test_a_shape_planted_in_one_layer_of_one_matrix_is_the_one_found():
    planted = measured(lambda a, layer, module: layer + 0.5 * (layer == 4 and module == "q"))
    control = contrast.shape(measured(flat, seed=1))
    found = contrast.corrected(contrast.compare_shapes(contrast.shape(planted), control, n=999))
    highest = found.loc[found["value"].idxmax()]
    assert (highest["module"], highest["layer"]) == ("q", 4) and highest["clear"]
    assert highest["value"] == pytest.approx(0.5, abs=0.1)
    assert found["clear"].sum() <= 3


def test_what_stays_when_the_answer_changes_does_not_move_and_what_goes_does():
    stays = measured(lambda answer, layer, m: layer + 0.5 * (layer == 2))
    goes = measured(lambda answer, layer, m: layer + 0.5 * (layer == 2 and answer == "own"))
    control = contrast.moved(measured(flat, seed=1))
    for table, expected in ((stays, 0), (goes, 1)):
        found = contrast.compare_shapes(contrast.moved(table), control, n=999).query("module == 'block'")
        assert (found.set_index("layer")["p"][2] < 0.01) == expected


def test_p_values_of_equal_domains_are_spread_evenly():
    p = [
        contrast.compare_shapes(
            contrast.shape(measured(flat, 6, 3, ["block"], seed)),
            contrast.shape(measured(flat, 6, 3, ["block"], seed + 500)),
            n=99,
        )["p"][0]
        for seed in range(60)
    ]
    assert 0.3 < np.mean(p) < 0.7 and np.mean(np.array(p) < 0.1) < 0.25


def test_all_domains_are_compared_with_their_own_controls_as_single_ones_are():
    tables = {name: measured(flat, seed=i) for i, name in enumerate("abcd")}
    found = contrast.compare_all(tables, {"a": "b", "c": "d"}, n=99)
    alone = contrast.compare_shapes(contrast.shape(tables["c"]), contrast.shape(tables["d"]), 99)
    assert found[found["domain"] == "c"]["p"].tolist() == alone["p"].tolist()


def test_the_rank_correlation_of_two_domains_is_that_of_their_mean_curves():
    one, other = (contrast.select(measured(lambda a, layer, m: 0.05 * layer, seed=seed)) for seed in (0, 1))
    found = contrast.rank_between(one, other)
    means = [table.groupby("layer")["saliency"].mean() for table in (one, other)]
    assert found.value == pytest.approx(spearmanr(*means).statistic)
    assert found.low <= found.value <= found.high
    assert contrast.rank_between(one, other, seed=3) == contrast.rank_between(one, other, seed=3)


def test_the_peak_is_the_planted_layer_and_a_clear_one_has_no_width():
    assert contrast.peaks(contrast.select(measured(lambda a, layer, m: 3.0 * (layer == 5)))) == (5, 5, 5)


def test_an_interval_of_few_clusters_is_wider_than_the_middle_of_its_draws():
    one, other = (contrast.select(measured(lambda a, layer, m: 0.05 * layer, seed=seed)) for seed in (0, 1))
    few = [table[table["cluster"].isin(table["cluster"].unique()[:3])] for table in (one, other)]
    drawn = np.arange(1001.0)
    assert stats.limits(drawn, 3)[0] < stats.limits(drawn, 30)[0] < np.quantile(drawn, 0.025)
    assert contrast.rank_between(*few).low < contrast.rank_between(one, other).low


def test_one_template_alone_is_like_no_other():
    table = contrast.select(measured(lambda a, layer, m: 0.05 * layer))
    assert np.isnan(contrast.least_alike(table[table["variant"] == table["variant"].iloc[0]]))
    assert np.isfinite(contrast.least_alike(table))


def test_the_summary_of_orders_holds_every_domain_against_its_control_and_its_other_answers():
    tables = {name: measured(flat, 4, 4, seed=i) for i, name in enumerate("ab")}
    both = {
        name: pd.concat([table, table.assign(kind="weight_grad")], ignore_index=True) for name, table in tables.items()
    }
    found = contrast.orders(both, {"a": "b"})
    assert found["peak"] == {"a": (4, 4, 4)} and set(found["templates"]) == {"a", "b"}
    assert found["other answers"]["a"].value == found["times weight"]["a"].value == found["control"]["a"].value == 1


def test_curves_and_ratios_are_named_by_domain_and_answer():
    table = measured(flat, 3, 3)
    tables = dict.fromkeys("ab", pd.concat([table, table.assign(kind="weight_grad")], ignore_index=True))
    assert len(contrast.curves(tables)) == 2 * 2 * 2
    found = contrast.against_controls(contrast.level, tables, {"a": "b"})
    assert set(found) == {("a", "own"), ("a", "other")} and found["a", "own"].value == pytest.approx(1)


# --- rows -------------------------------------------------------------------------------------------------------------


def test_the_rows_fit_the_results_table():
    from medlib import results

    tables = {name: measured(flat, 3, 3, seed=i) for i, name in enumerate("abcd")}
    tables = {
        name: pd.concat([table, table.assign(kind="weight_grad")], ignore_index=True) for name, table in tables.items()
    }
    controls = {"a": "b", "c": "d"}
    steps = pd.DataFrame(
        [(name, 0, 1, "all", 0.5, 0.4, 0.6) for name in controls],
        columns=["domain", "order", "scrambled", "blocks", "value", "low", "high"],
    )
    ratios, levels = (contrast.against_controls(of, tables, controls) for of in (contrast.ratio, contrast.level))
    sizes = reference.compare(tables, controls, dict.fromkeys("abcd", True))
    tests, orders = contrast.tests(tables, controls, n=9), contrast.orders(tables, controls)
    saved = pd.concat(
        [
            told.curve_rows(contrast.curves(tables), ratios, controls),
            told.prompt_rows(tables),
            told.module_rows(tables, controls),
            told.tested_rows(tests, controls),
            told.agreement_rows(steps, orders, levels, sizes, controls),
        ]
    )
    tidy = results.tidy(saved, model="m", technique="saliency", seed=0)
    assert len(tidy[tidy["item"].notna()]) == 4 * 6 * 3 * 3  # domains, prompts, layers, metrics
    assert {"grad", "grad_ratio", "grad_shape_p", "rank_correlation_scrambled_1", "grad_ratio_level"} <= set(
        tidy["metric"]
    )
    assert sorted(tidy[tidy["metric"] == "grad_shape_rms"]["variant"]) == ["over b", "over d", "over d"]

    blocks = {what: contrast.corrected(table[table["module"] == "block"]) for what, table in tests.items()}
    summed = told.summed(orders, sanity.spread_of_orders(steps), levels, blocks, sizes, controls)
    assert summed["scrambled"]["a"] == "0.50 (0.50 to 0.50)" and (summed["size of shape"] != "").all()
    assert (
        told.summed(orders, sanity.spread_of_orders(steps), levels, blocks, None, controls)["size of shape"] == ""
    ).all()
    assert len(told.two_controls(sizes)) == 1 and told.two_controls(None).empty


def test_what_was_asked_is_counted_with_the_likelihood_of_both_answers(ask, tiny):
    questions = ask(asked([f" w{20 + i}" for i in range(4)]))
    table = contrast.measure(tiny, questions)
    found = told.asked({"mine": questions}, {"mine": table}).loc["mine"]
    assert found[["items", "clusters", "prompts"]].tolist() == [4, 4, 8]
    assert found["own"] == pytest.approx(table[table["answer"] == "own"]["log_p"].mean())
