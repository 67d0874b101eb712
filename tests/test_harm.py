"""The harm by domain: agreement with plain computations, planted differences, and what stands for no harm."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model

import medlib
from medlib import MedlibError, hooks, lesion, results, stats
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


def test_neutral_text_rises_only_at_the_one_working_block():
    model = tiny_model()
    with hooks.only(model, 3):
        rise = harm.neutral_text(model, PROMPTS[:3]).groupby("layer").rise.apply(lambda r: r.abs().max())
    assert rise.idxmax() == 3 and rise.drop(3).max() < 1e-4 and len(lesion.HOWS) == 3


def test_few_questions_are_of_as_many_clusters_and_in_the_templates_asked_for():
    items = [f"i{i}" for i in range(30)]
    one = pd.DataFrame(dict(item=items, variant="v", cluster=[f"c{i % 4}" for i in range(30)], prompt="w1"))
    asked = pd.concat([one, one.assign(variant="other"), one.assign(variant="a third")])
    assert [*harm.in_templates(asked, 2).variant.unique()] == ["v", "other"]
    for seed in range(10):
        few = harm.of_clusters(harm.in_templates(asked, 1), 3, seed)
        assert len(few) == few.cluster.nunique() == 3 and (few.variant == "v").all()


def test_p_and_q_of_each_difference_are_rows_of_the_results_table_beside_it():
    tables = {"drugs": table(LAYERS * 1.0, noise=1), "foods": table(LAYERS * 1.0, noise=1, seed=1)}
    found = harm.differences(tables, {"drugs": "foods"}, "kl", n=199)
    rows = harm.rows([harm.tested(found)]).set_index(["metric", "layer"])
    assert len(rows) == 30 and (rows.component == "block").all()
    for row in found.itertuples():
        assert rows.value["kl_difference", row.layer] == row.value and rows.low["kl_difference", row.layer] == row.low
        assert rows.value["kl_difference_p", row.layer] == row.p and rows.value["kl_difference_q", row.layer] == row.q
    assert rows.low.loc[["kl_difference_p", "kl_difference_q"]].isna().all()
    results.tidy(rows.reset_index(), model="m", technique="lesion", seed=0)


def test_each_prompts_own_numbers_are_rows_and_a_control_stands_in_the_place_of_its_domain():
    tables = {"drugs": table(LAYERS * 1.0, 2), "foods": table(LAYERS * 2.0, 3)}
    rows = harm.items(tables, ["kl"])
    assert len(rows) == 2 * 10 * (2 + 3) and rows.groupby("domain").value.max().tolist() == [10, 20]
    assert harm.of_controls(tables, {"drugs": "foods"})["drugs"] is tables["foods"]
