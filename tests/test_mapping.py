"""The knowledge map finds what was planted, says when there is nothing, and noise agrees no better than chance."""

import numpy as np
import planted_tables as made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medlib import MedlibError, mapping, results, stats
from medlib.chapters.knowledge_map import planted_map
from medlib.mapping import agreement, curves, rules

CONTROLS = {"drugs": "foods"}


@pytest.fixture(scope="module")
def tables():
    return made.everything()


@pytest.fixture(scope="module")
def found(tables):
    return mapping.cells(tables, ["drugs", "foods"], n=200)


# --- rules ------------------------------------------------------------------------------------------------------------


def test_layers_planted_in_a_level_curve_are_found_with_noise_around_them():
    curve = made.bump([6, 7, 8, 9, 10, 11]) + 0.05 * np.random.default_rng(0).normal(size=made.LAYERS)
    assert rules.runs(rules.layers(curve, "level")) == [(6, 11)]
    two = made.bump([3, 4, 5, 15, 16, 17]) + 0.05 * np.random.default_rng(0).normal(size=made.LAYERS)
    assert rules.runs(rules.layers(two, "level")) == [(3, 5), (15, 17)]


def test_a_single_high_layer_is_no_run_and_of_four_runs_the_lowest_goes():
    alone = rules.layers(made.bump([5]), "level", sigma=0)
    assert not alone.any()
    heights = made.bump([2, 3]) + made.bump([8, 9], 3.0) + made.bump([14, 15], 4.0) + made.bump([20, 21], 5.0)
    assert rules.runs(rules.layers(heights, "level", sigma=0, quantile=0.6)) == [(8, 9), (14, 15), (20, 21)]


def test_the_steepest_rise_is_found_wherever_it_was_planted():
    for first in range(1, made.LAYERS - 1):
        curve = made.step(first, first + 2)
        assert rules.runs(rules.layers(curve, "rise")) == [(first, first + 2)]
        assert first <= rules.evidence(curve, "rise").argmax() + 1 <= first + 2


def test_a_curve_that_never_rises_maps_nothing():
    assert not rules.layers(np.linspace(1, 0, 20), "rise").any()


def test_a_curve_that_ends_at_one_by_construction_would_put_its_upper_quarter_last_wherever_it_rose():
    """Why a patch of the residual stream at the last token is mapped by where it rises."""
    for first in (2, 6, 10):
        curve = made.step(first, first + 2)
        creeping = curve + np.linspace(0, 0.01, len(curve))
        assert rules.runs(rules.layers(creeping[1:], "level"))[-1][1] == made.LAYERS
        assert rules.runs(rules.layers(creeping, "rise")) == [(first, first + 2)]


def test_curves_in_a_block_are_mapped_as_one_by_one():
    drawn = np.random.default_rng(0).normal(size=(5, 4, 20))
    for rule in ("level", "rise"):
        whole = rules.layers(drawn, rule)
        assert whole.shape == rules.evidence(drawn, rule).shape == (5, 4, 20 - (rule == "rise"))
        assert (whole[3, 2] == rules.layers(drawn[3, 2], rule)).all()


@pytest.mark.parametrize(("curve", "rule"), [([1, 2, 3], "level"), ([1, 2, 3, np.nan, 5], "rise"), (np.ones(9), "top")])
def test_what_is_no_curve_or_no_rule_is_refused(curve, rule):
    with pytest.raises(MedlibError, match="needs 4 layers|is not known"):
        rules.layers(curve, rule)


@given(st.lists(st.booleans(), min_size=4, max_size=30))
def test_runs_put_elsewhere_keep_their_lengths_and_never_touch(mask):
    lengths = sorted(last - first + 1 for first, last in rules.runs(mask))
    for one in rules.placed(mask, 20, np.random.default_rng(0)):
        assert sorted(last - first + 1 for first, last in rules.runs(one)) == lengths


def test_every_place_of_a_run_is_as_likely():
    mask = np.isin(np.arange(12), [0, 1, 2])
    starts = rules.placed(mask, 20_000, np.random.default_rng(0)).argmax(axis=1)
    counts = np.bincount(starts, minlength=10)
    assert len(counts) == 10 and abs(counts / 2000 - 1).max() < 0.12


def test_an_overlap_is_what_is_shared_of_what_either_holds():
    a, b = np.isin(np.arange(9), [1, 2, 3]), np.isin(np.arange(9), [2, 3, 4, 5])
    assert rules.overlap(a, b) == 2 / 5 and rules.overlap(a, a) == 1
    assert np.isnan(rules.overlap(a, a & False))


# --- the map ----------------------------------------------------------------------------------------------------------


def test_the_map_finds_what_was_planted_in_every_technique_and_is_sure_of_it(tables):
    table = mapping.knowledge_map(tables | {"knowledge": made.knowledge({"drugs": True, "foods": False})}, n=100)
    drugs = table[(table["domain"] == "drugs") & (table["technique"] != "consensus")]
    widest = drugs.groupby("technique").apply(lambda part: part.loc[part["share"].idxmax()])
    assert set(widest.index) == set(mapping.TECHNIQUES)
    assert (widest["first"].between(7, 8) & widest["last"].between(10, 12)).all() and (widest["share"] > 0.8).all()
    assert drugs["known"].all() and not table[table["domain"] == "foods"]["known"].any()


def test_two_techniques_that_point_at_a_layer_make_a_consensus(found):
    agreed = mapping.consensus(found, "drugs")
    assert set(range(8, 11)) <= {i for first, last in rules.runs(agreed.mask) for i in range(first, last + 1)}
    assert agreed.share[7:10].min() > 0.9
    only = mapping.consensus(found, "drugs", without=("geometry", "saliency", "lesion"))
    assert only.status == "1 techniques"


def test_two_techniques_of_the_same_numbers_are_resampled_apart():
    curve = {"drugs": np.ones(made.LAYERS)}
    same = {"lesion": planted_map._table(curve, "kl", 0), "saliency": planted_map._table(curve, "grad", 0)}
    found = mapping.cells(same, ["drugs"], n=200)
    drawn = [found["drugs", name].drawn_evidence[:, 5] for name in same]
    assert abs(np.corrcoef(*drawn)[0, 1]) < 0.3


def test_a_chapter_that_did_not_run_is_in_the_map_as_not_run(tables):
    table = mapping.knowledge_map({name: tables[name] for name in ("lesion", "knowledge")}, n=20)
    status = table.groupby("technique")["status"].first()
    assert status["lesion"] == "run"
    assert (status[["geometry", "patching", "saliency"]] == "not run").all()
    assert status["consensus"] == "1 techniques"
    layers = mapping.by_layer(mapping.cells({"lesion": tables["lesion"]}, ["drugs"], n=20), ["drugs"])
    assert layers.groupby("technique")["layer"].count().to_dict() == {
        "geometry": 0,
        "lesion": made.LAYERS,
        "patching": 0,
        "saliency": 0,
    }


@pytest.mark.parametrize("technique", mapping.TECHNIQUES)
def test_a_chapter_that_looked_at_some_layers_only_is_in_the_map_as_such(tables, technique):
    whole = tables[technique]
    missing = {
        "every third": whole["layer"].isna() | (whole["layer"] % 3 == 0),
        "all but one": whole["layer"].isna() | (whole["layer"] != 9),
        "the first half": whole["layer"].isna() | (whole["layer"] <= made.LAYERS // 2),
    }
    for what, kept in missing.items():
        gaps = tables | {technique: whole[kept]}
        assert curves.measured(gaps, technique, "drugs").status == "not at every layer", what
        others = [name for name in mapping.TECHNIQUES if name != technique]
        assert all(curves.measured(gaps, name, "drugs").status == "run" for name in others), what


def test_ages_at_every_third_layer_leave_the_map_to_the_other_techniques():
    """What the quick profile makes: the last layer and every third one before it."""
    level, names = made.bump(range(7, 13)), ["age", "numbers"]
    line = made.ages({name: 2 + made.step(8, 10)[1:] for name in names})
    tables = {
        "lesion": made.lesion(dict.fromkeys(names, level)),
        "saliency": made.saliency(dict.fromkeys(names, level)),
    }
    quick = tables | {"ages": line[line["layer"] % 3 == 0]}
    plain, less = mapping.cells(quick, names, n=20), mapping.differences(quick, {"age": "numbers"}, n=20, n_shuffles=19)
    assert plain["age", "geometry"].status == less["age", "geometry"].status == "not at every layer"
    assert mapping.consensus(plain, "age").status == mapping.consensus(less, "age").status == "run"
    assert (
        mapping.consensus(plain, "age").mask == mapping.consensus(mapping.cells(tables, names, n=20), "age").mask
    ).all()
    table = mapping.knowledge_map(quick, n=20)
    assert set(table[table["technique"] == "geometry"]["status"]) == {"not at every layer"}
    assert not agreement.pairs_of_techniques(plain, "age", n=19)["first"].eq("geometry").any()
    assert agreement.whole_domain(plain, "age", n=19)["techniques"] == 2
    assert "geometry" not in set(agreement.among_domains(plain, {"age": "numbers"}, n=19)["technique"])
    assert "geometry" not in set(agreement.stability(quick, names, plain, n=4)["technique"])


def test_without_the_knowledge_chapter_it_is_unknown_what_is_known(tables):
    table = mapping.knowledge_map({"lesion": tables["lesion"]}, n=20)
    assert table["known"].isna().all()


def test_tables_without_a_domain_are_refused():
    with pytest.raises(MedlibError, match="no domain of the library"):
        mapping.knowledge_map({"knowledge": made.knowledge({"weather": True})})


def test_pairs_that_are_wrong_when_clean_have_no_part_and_too_few_couples_are_said_to_be_few():
    right = made.patching({"drugs": made.step(8, 10)[1:]})
    mixed = made.patching({"drugs": made.step(8, 10)[1:]}, wrong=range(1, 24, 2))
    cells = [mapping.cells({"patching": t}, ["drugs"], n=20)["drugs", "patching"] for t in (right, mixed)]
    assert rules.runs(cells[0].mask) == rules.runs(cells[1].mask) == [(8, 10)]
    few = made.patching({"drugs": made.step(8, 10)[1:]}, wrong=range(8, 24))
    assert mapping.cells({"patching": few}, ["drugs"], n=20)["drugs", "patching"].status == "too few couples"


def test_ages_come_from_their_own_chapter_with_the_error_of_their_curve():
    curve = 0.5 * made.step(5, 7)[1:]
    cell = mapping.cells({"ages": made.ages({"age": curve})}, ["age"], n=200)["age", "geometry"]
    assert rules.runs(cell.mask) == [(5, 7)] and len(cell.mask) == made.LAYERS and cell.share[4:7].min() > 0.9
    wide = mapping.cells({"ages": made.ages({"age": curve}, width=1.0)}, ["age"], n=200)["age", "geometry"]
    assert wide.share[4:7].max() < 0.6


def test_noise_is_mapped_too_and_its_share_says_so():
    flat = np.zeros(made.LAYERS)
    noise = mapping.cells({"lesion": made.lesion({"drugs": flat}, noise=1.0)}, ["drugs"], n=200)["drugs", "lesion"]
    assert noise.mask.any() and noise.share[noise.mask].mean() < 0.75


# --- minus control ----------------------------------------------------------------------------------------------------


def test_the_difference_from_the_control_finds_what_only_the_domain_has():
    shared, own = made.bump([1, 2, 3, 4], 4.0), made.bump([12, 13, 14, 15, 16])
    tables = {"lesion": made.lesion({"drugs": shared + own, "foods": shared})}
    plain = mapping.cells(tables, ["drugs"], n=50)["drugs", "lesion"]
    less = mapping.differences(tables, CONTROLS, n=50, n_shuffles=199)["drugs", "lesion"]
    assert rules.runs(plain.mask)[0][0] == 1
    assert set(range(12, 17)) <= set(np.flatnonzero(less.mask) + 1) and less.p <= 0.01


def test_a_difference_of_nothing_is_no_rarer_than_chance():
    p = []
    for seed in range(30):
        tables = {"lesion": made.lesion(dict.fromkeys(("drugs", "foods"), np.zeros(12)), noise=0.5, seed=seed)}
        p.append(mapping.differences(tables, CONTROLS, n=10, n_shuffles=99)["drugs", "lesion"].p)
    assert np.mean(np.array(p) <= 0.1) < 0.25 and 0.3 < np.mean(p) < 0.7


def test_a_control_that_was_not_measured_is_named():
    tables = {"lesion": made.lesion({"drugs": made.bump([5, 6])})}
    assert mapping.differences(tables, CONTROLS)["drugs", "lesion"].status == "control not measured"


# --- agreement --------------------------------------------------------------------------------------------------------


def test_techniques_that_point_at_the_same_layers_agree_beyond_chance(found):
    pairs = mapping.pairs_of_techniques(found, "drugs", n=999)
    assert len(pairs) == 6 and (pairs["overlap"] > pairs["chance"]).all() and (pairs["rank"] > 0.3).all()
    whole = mapping.whole_domain(found, "drugs", n=999)
    assert whole["p"] <= 0.005 and whole["techniques"] == 4 and whole["low"] <= whole["overlap"]


def test_noise_overlaps_no_better_than_chance():
    p, gaps = [], []
    for seed in range(60):
        drawn = np.random.default_rng(seed).normal(size=(2, made.LAYERS))
        masks = list(rules.layers(drawn, "level"))
        overlap, chance, one = agreement.against_chance(masks, np.random.default_rng(seed), 199)
        if np.isfinite(one):
            p, gaps = [*p, one], [*gaps, overlap - chance]
    assert len(p) > 40 and np.mean(np.array(p) <= 0.05) < 0.15
    assert abs(np.mean(gaps)) < 0.06


def test_a_map_that_its_control_shares_is_seen_to_be_shared():
    curve, other = made.bump([3, 4, 5, 14, 15, 16]), made.bump([8, 9, 10, 20, 21, 22])
    tables = {"lesion": made.lesion({"drugs": curve, "foods": curve, "symptoms": curve, "animals": other})}
    controls = {"drugs": "foods", "symptoms": "animals"}
    cells = mapping.cells(tables, [*controls, *controls.values()], n=20)
    table = mapping.among_domains(cells, controls, n=999).set_index("domain")
    assert table.loc["drugs", "control"] > 0.6 and table.loc["drugs", "p"] < 0.02
    assert table.loc["symptoms", "control"] < 0.3 and table.loc["symptoms", "others"] > 0.6


def test_an_overlap_of_single_runs_is_never_rarer_than_their_places_are_few():
    """A run of 6 in 24 layers has 19 places, so that two coincide once in 19 times."""
    mask = np.isin(np.arange(24), range(6, 12))
    overlap, _, p = agreement.against_chance([mask, mask], np.random.default_rng(0), 9999)
    assert overlap == 1 and p == pytest.approx(1 / 19, abs=0.01)


def test_stability_is_high_where_items_and_templates_say_the_same_and_low_in_noise(tables, found):
    table = mapping.stability(tables, ["drugs"], found, n=40)
    rest = table[table["change"].isin(["half of the items", "template"])]
    assert set(rest["technique"]) == set(mapping.TECHNIQUES) and (rest["overlap"] > 0.6).all()
    noise = {"lesion": made.lesion({"drugs": np.zeros(made.LAYERS)}, noise=1.0)}
    cells = mapping.cells(noise, ["drugs"], n=20)
    lost = mapping.stability(noise, ["drugs"], cells, n=40).set_index("change")
    assert lost.loc["half of the items", "overlap"] < 0.4


def test_a_flat_curve_has_no_ranks_and_equal_curves_the_same():
    a = np.random.default_rng(0).normal(size=9)
    assert agreement.ranks_alike(a, 3 * a + 1) == pytest.approx(1)
    assert agreement.ranks_alike(a, np.ones(9)) == 0
    assert agreement.ranks_alike(a, a[::-1]) == pytest.approx(stats.spearman(a, a[::-1]))


# --- the recorded tables ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(request):
    folder = request.config.rootpath / "book" / "runs" / "smollm2-135m"
    return {name: results.read(folder / f"{name}.parquet") for name in ("geometry", "lesion", "patching", "saliency")}


def test_curves_made_again_from_the_items_are_those_that_the_chapters_report(recorded):
    reported = {
        "lesion": recorded["lesion"].query("metric == 'kl' and component == 'block' and item.isna()"),
        "saliency": recorded["saliency"].query("metric == 'grad' and component == 'block' and item.isna()"),
        "patching": recorded["patching"].query("metric == 'recovered' and space == 'last'"),
        "geometry": recorded["geometry"].query(
            "metric == 'silhouette_specialty_above_shuffled' and space == 'raw' and item.isna() "
            "and component == 'residual stream'"
        ),
    }
    for technique, table in reported.items():
        own = curves.measured(recorded, technique, "drugs").curve
        said = table[table["domain"] == "drugs"].sort_values("layer")["value"].to_numpy(dtype=float)
        assert np.allclose(own[-len(said) :], said, atol=1e-4), technique


def test_the_units_are_those_that_the_chapters_resample(recorded):
    for technique, metric in (("lesion", "kl"), ("saliency", "grad")):
        table = recorded[technique]
        table = table[(table["metric"] == metric) & (table["component"] == "block") & table["item"].isna()]
        for domain, rows in table.groupby("domain"):
            assert curves.measured(recorded, technique, domain).n == rows["n"].iloc[0], (technique, domain)
