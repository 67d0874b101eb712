"""The sentences turn with the numbers: yes, in part, not decided; what does not beat its control counts for nothing."""

import numpy as np
import pandas as pd
import pytest

from medlib.chapters.embedding_geometry import embedding_prose, linear_steps, project_b, two_traps

METRICS = (linear_steps.MAIN, "anisotropy", "dimension")
LAYERS = range(1, 11)


def table(beaten=True, value=0.5):
    rows = []
    for metric in METRICS:
        for kind in ("image", "text"):
            control = value + (0.2 if (metric == "dimension") == beaten else -0.2)
            row = dict(kind=kind, metric=metric, value=value, low=value - 0.1, high=value + 0.1, control=control)
            rows += [row | dict(layer=layer, reason=None, n=1000) for layer in LAYERS]
    return pd.DataFrame(rows)


def apart(**signs):
    """Differences that are clear above (+), below (-) or not clear (.) at each of ten layers, by metric."""
    edges = {"+": (0.1, 0.3), "-": (-0.3, -0.1), ".": (-0.1, 0.1)}
    rows = [
        dict(layer=layer, metric=metric, value=sum(edges[sign]) / 2, low=edges[sign][0], high=edges[sign][1])
        for metric in METRICS
        for layer, sign in zip(LAYERS, signs.get(metric, "." * 10), strict=True)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        ("++++++....", "image"),
        ("------+...", "text"),
        ("++++++--..", "mixed"),
        ("+++++.....", "not decided"),
        ("..........", "not decided"),
    ],
)
def test_a_side_is_named_where_most_layers_are_clear_and_few_contradict(signs, expected):
    assert embedding_prose.side(apart(anisotropy=signs), "anisotropy") == expected


def test_the_verdict_is_yes_only_where_all_three_measures_tell_the_kinds_apart():
    clear = apart(**{linear_steps.MAIN: "+" * 10, "anisotropy": "+" * 10, "dimension": "-" * 10})
    number, text = embedding_prose.verdict(table(), clear)
    assert number == 3 and text.startswith("Yes: what a block adds to image tokens is more linear (10 of 10 blocks)")
    assert text.endswith("the cloud of image tokens has fewer dimensions (10 of 10 states)")
    number, text = embedding_prose.verdict(table(), apart(anisotropy="-" * 10))
    assert number == 1 and text.startswith("In part") and "less stretched (10 of 10 states)" in text
    number, text = embedding_prose.verdict(table(), apart())
    assert number == 0 and text.startswith("Not decided")
    text = embedding_prose.verdict(table(), apart(anisotropy="+++++-----"))[1]
    assert text.startswith("In part") and "more stretched in 5 and less stretched in 5 of 10 states" in text


def test_a_measure_that_does_not_beat_its_control_decides_nothing():
    clear = apart(**dict.fromkeys(METRICS, "+" * 10))
    number, text = embedding_prose.verdict(table(beaten=False), clear)
    assert number == 0 and text.startswith("Not decided") and text.count("does not beat its control") == 3
    refused = table()
    refused.loc[(refused["metric"] == linear_steps.MAIN) & (refused["kind"] == "text"), "value"] = None
    number, text = embedding_prose.verdict(refused, clear)
    assert number == 2 and "for linearity the run does not beat its control, or could not be measured" in text


def test_the_order_of_b_is_met_reversed_or_not_decided():
    agree, text = embedding_prose.order_of_b(table(), apart(anisotropy="+" * 10, dimension="+" * 10))
    assert agree == 1 and "so does this run" in text and text.endswith("this run has the opposite")
    agree, text = embedding_prose.order_of_b(table(beaten=False), apart(anisotropy="+" * 10, dimension="-" * 10))
    assert agree == 0 and text.count("this run does not decide it") == 2
    text = embedding_prose.order_of_b(table(), apart(anisotropy="+++++-----"))[1]
    assert "depends on the layer" in text


def test_the_peak_is_held_against_the_place_of_b_as_finely_as_blocks_were_measured():
    def told(found, fewer=(9.0, 9.0, 9.0)):
        return embedding_prose.peak(found, fewer, [*range(0, 30, 2)], 30, (25, 32))

    met = told((24.0, 20.0, 26.0))
    assert met[0] == 24 and "near the place of project B, 78% of the depth" in met[1]
    text = told((11.0, 11.0, 11.0))[1]
    assert text.startswith("block 11 of the 15 of 30 that were measured (11 to 11 as pictures are resampled, with the")
    assert "no finer than the 2 from one to the next), away from the place" in text
    assert text.endswith("without the 3 dimensions that each block changes most it is block 9")
    assert "near the place" in told((23.0, 23.0, 23.0))[1]  # 23.4 is not told apart from the block that was measured
    assert embedding_prose.peak(None, None, [0], 30, (25, 32))[0] == "refused"


def test_ranges_are_quoted_and_what_was_refused_says_so():
    found = embedding_prose.curves(table())
    assert found["anisotropy_image"] == (0.5, "0.50 to 0.50") and found["gaussian_text"] == (0.7, "0.7 to 0.7")
    assert found["full_image"] == ("refused", "refused, for want of tokens,")
    assert found["update_control"] == (0.3, "0.30 at most") and found["left_out"] == (0, "none")
    assert found["scale"][0] == "refused"


def test_a_state_of_few_distinct_tokens_has_no_part_in_ranges_counts_and_the_table_beside_b():
    rows = table()
    first = (rows["layer"] == 1) & (rows["kind"] == "text")
    rows.loc[first, ["value", "low", "high", "control", "n"]] = [9.0, 8.9, 9.1, 0.1, 77]
    found = embedding_prose.curves(rows)
    assert found["dimension_text"][1] == "0.5 to 0.5" and found["update_control"][0] == 0.3
    assert embedding_prose.beats_control(rows, "anisotropy") == {"image": (10, 10), "text": (9, 9)}
    ours = project_b.beside_ours(rows)
    row = ours[(ours["measure"] == "anisotropy") & (ours["tokens"] == "text")].iloc[0]
    assert row["this run"] == "0.500 to 0.500 (0.500 to 0.500)" and row["distinct tokens"] == "1000"


def scaled(text=(5, 4, 3), image=(6, 6, 6.5)):
    """A table with the dimension of all, half and a quarter of the tokens at each of ten states."""
    rows = table()
    rows.loc[rows["metric"] == "dimension", ["value", "low", "high", "control"]] = [5.0, 4.9, 5.1, 9.0]
    rows.loc[(rows["metric"] == "dimension") & (rows["kind"] == "image"), "value"] = image[0]
    more = [
        dict(kind=kind, metric=name, value=value, layer=layer, n=1000)
        for kind, values in (("text", text), ("image", image))
        for name, value in zip(embedding_prose.SCALE[1:], values[1:], strict=True)
        for layer in LAYERS
    ]
    return pd.concat([rows, pd.DataFrame(more)], ignore_index=True)


def test_a_dimension_that_falls_with_fewer_tokens_fails_the_scale_check_and_decides_nothing():
    failed, text = embedding_prose.scale_check(scaled())
    assert failed == 1 and text.startswith("The scale check fails for text tokens, whose estimate was measuring noise")
    assert "text tokens falls with fewer tokens at 10 of 10 states (medians 5.0, 4.0 and 3.0 for all, half and" in text
    assert text.endswith("and changes by more than the kinds differ at 10") and "of image tokens falls" in text
    clear = apart(**dict.fromkeys(METRICS, "+" * 10))
    number, said = embedding_prose.verdict(scaled(), clear)
    assert number == 2 and "for dimension the estimate of text tokens falls with their number, as noise does" in said
    assert embedding_prose.fails(scaled(), "dimension")
    little = scaled(text=(5, 4.9, 4.8))
    assert embedding_prose.scales(little)["text"] == (10, 10, 0) and not embedding_prose.noisy(little)
    level = scaled(text=(5, 5.1, 4.9))
    assert embedding_prose.scale_check(level)[0] == 0 and not embedding_prose.fails(level, "dimension")
    assert embedding_prose.scale_check(level)[1].startswith("The scale check holds")
    assert embedding_prose.scales(level)["text"] == (0, 10, 0)


def test_the_traps_are_told_by_what_they_did():
    x = np.random.default_rng(0).normal(size=(2, 60, 8))
    few, copies = two_traps.few_tokens(*x), two_traps.with_copies(np.random.default_rng(1).normal(size=(200, 4)))
    read = pd.DataFrame(
        dict(layer=[0, 0], fit=["lowest", "likelihood"], value=[30.0, 0.0], clean=10.0, repeats=5, n=20)
    )
    found = embedding_prose.of_traps(few, read, copies)
    assert found["few_tokens"][1] == "at least 1.000 for the states and 1.000 for noise: they are one whatever the data"
    assert found["repeats_factor"] == (
        3.0,
        "with the 25% of repeats left in, the fit on the lowest fifth gives up to 3.0 times the dimension",
    )
    assert found["copies"][1].startswith("a quarter of copies turns")
    infinite = embedding_prose.of_traps(few, read.assign(value=np.inf), copies)
    assert infinite["repeats_factor"][0] == "infinite" and infinite["repeats_factor"][1].endswith(
        "no finite dimension at all"
    )
    assert embedding_prose.of_traps(few, read.assign(repeats=0), copies)["repeats_factor"][0] == "none"


def test_b_stands_beside_this_run_and_a_refused_curve_gives_its_reason():
    rows = table()
    refused = dict(kind="image", layer=1, metric="linearity", value=None, control=None, reason="too few", n=1000)
    found = project_b.beside_ours(pd.concat([rows, pd.DataFrame([refused])]))
    assert len(found) == len(project_b.PUBLISHED)
    assert found.loc[found["measure"].str.startswith("linearity"), "this run"].item() == "too few"
    ours = found[(found["measure"] == "anisotropy") & (found["tokens"] == "text")]
    assert ours["this run"].item() == "0.500 to 0.500 (0.500 to 0.500)" and ours["project B"].item() == "0.08 to 0.13"
    assert project_b.band("dimension_lowest", "text") == (8.0, 14.0) and project_b.band("mean_cosine", "text") is None
