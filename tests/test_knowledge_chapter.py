"""What the knowledge chapter tabulates and says: known tables in, true sentences out, whatever the numbers are."""

import numpy as np
import pandas as pd
import pytest
from test_knowledge import TOKENS, N, asked, made_up

from medlib import knowledge, results
from medlib.chapters.knowledge import knowledge_prose as prose
from medlib.chapters.knowledge import knowledge_tables as told
from medlib.chapters.knowledge import planted

CONTROLS = {"drugs": "foods", "age": "numbers"}
KNOWN = {"drugs": True, "foods": True, "age": True, "numbers": False}


def test_planted_knowledge_passes_the_check_and_logits_without_any_do_not():
    found = planted.accuracies(asked(made_up()))
    assert planted.check(found)["passed"] and "bias: pairwise 0.5" in planted.check(found)["detail"]
    assert not planted.check(found | {"bias": found["knows"]})["passed"]
    assert not planted.check(found | {"knows": found["bias"]})["passed"]


def of(values):
    """Scores over all templates: domain -> (pairwise, n-way, chance of n-way)."""
    rows = [
        (name, metric, "", value, value - 0.05, value + 0.05, 20, 30, chance)
        for name, (pairwise, n_way, order) in values.items()
        for metric, value, chance in (("pairwise", pairwise, 0.5), ("contrast", pairwise, 0.5), ("n-way", n_way, order))
    ]
    columns = ["domain", "metric", "variant", "value", "low", "high", "n", "items", "chance"]
    return pd.DataFrame(rows, columns=columns)


SCORES = of({"drugs": (0.7, 0.15, 0.04), "foods": (0.8, 0.3, 0.1), "age": (0.9, 0.9, 0.5), "numbers": (0.6, 0.6, 0.5)})
ANSWERS = {"drugs": 68, "foods": 48, "age": 2, "numbers": 2}


def test_the_verdict_counts_preferences_and_sets_the_first_choice_beside_them():
    assert prose.verdict(SCORES, KNOWN, ANSWERS, list(CONTROLS)) == (
        2,
        "In 2 of 2 medical domains the model reliably prefers the right answer of two, which is less than knowing it: "
        "its first choice among all answers is right in 15 % (drugs) of the questions",
    )  # of two answers the first choice is the preference itself
    nothing = dict.fromkeys(KNOWN, False)
    assert prose.verdict(SCORES, nothing, ANSWERS, list(CONTROLS)) == (
        0,
        "In 0 of 2 medical domains the model reliably prefers the right answer of two",
    )
    several = prose.verdict(SCORES, KNOWN, dict.fromkeys(ANSWERS, 9), list(CONTROLS))[1]
    assert "right in 15 % (drugs) to 90 % (age) of the questions" in several


def test_each_domain_is_given_with_its_first_choice_and_what_one_order_of_answers_scores():
    first, second = "drugs 0.70 pairwise, first choice 15 % (4 %)", "age 0.90 pairwise, first choice 90 % (50 %)"
    assert prose.details(SCORES, KNOWN, list(CONTROLS)) == (2, f"{first}; {second}")
    assert prose.details(SCORES, KNOWN | {"drugs": False}, list(CONTROLS))[1] == f"{second}; not reliably: {first}"
    assert prose.details(SCORES, dict.fromkeys(KNOWN, False), list(CONTROLS))[1] == f"{first}; {second}"


def test_a_preference_is_special_to_medicine_only_where_the_controls_show_it_less():
    assert prose.controls(KNOWN, CONTROLS)[1] == "in 1 of 2 controls, without medicine (not in numbers)"
    assert prose.controls(KNOWN | {"age": False}, CONTROLS)[1].endswith(
        "so the preference is nothing special to medicine"
    )


def test_what_lies_beneath_a_bias_is_named_only_where_the_domain_is_not_known():
    assert prose.beneath(SCORES, KNOWN)[0] == "numbers"
    assert prose.beneath(SCORES, KNOWN | {"numbers": True})[0] == "none"


def test_pairs_are_too_few_whether_the_domain_is_known_or_not():
    counts = pd.DataFrame({"kept": {"drugs": 70, "age": 10, "numbers": 3, "foods": 60}})
    found = prose.pairs(counts, KNOWN, list(CONTROLS))
    assert found["fewest"] == (10, "10 (age)") and found["too_few"][0] == "age, numbers"
    assert prose.pairs(counts, dict.fromkeys(KNOWN, False), list(CONTROLS))["fewest"][1].startswith("none")


def test_labels_are_sorted_by_whether_the_primary_one_matters():
    rows = [
        (name, labelling, value, value - 0.01, value + 0.01)
        for name, values in {"a": (0.5, 0.1, 0.0), "b": (0.5, 0.5, 0.0), "c": (0.5, 0.5, 0.5)}.items()
        for labelling, value in zip(("primary", "others", "random"), values, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["domain", "labelling", "value", "low", "high"])
    assert prose.labels(table) == {"primary_labels": ("a", "a"), "same_labels": ("b", "b")}
    wide = table.assign(low=table["value"] - 0.3, high=table["value"] + 0.3)
    assert prose.labels(wide) == {"primary_labels": ("none", "none"), "same_labels": ("none", "none")}


def test_the_accuracies_stand_in_the_order_of_the_domains_with_the_count_of_what_is_resampled():
    table = told.accuracies(SCORES, KNOWN)
    assert list(table.index) == list(ANSWERS) and table["known"].tolist() == [True, True, True, False]
    assert table.loc["drugs"].tolist() == [
        True,
        "0.70 (0.65 to 0.75)",
        "0.70 (0.65 to 0.75)",
        "0.15 (0.10 to 0.20)",
        "0.04",
        20,
    ]


def test_wordings_name_the_lowest_and_the_highest_of_what_items_are_variations_of():
    found = asked(made_up(knowledge=1, variants=2), variants=2)
    grouped = found._replace(questions=found.questions.assign(cluster=[f"series {own}" for own in found.own]))
    of_both = {"single": found, "series": grouped}
    scores = told.by_domain({name: knowledge.scores(one) for name, one in of_both.items()})
    table = told.wordings(scores, told.by_domain({name: knowledge.by_item(one) for name, one in of_both.items()}))
    assert (table["min"] <= table["max"]).all() and table["lowest"].isna().tolist() == [True, False]
    assert table.loc["series", "highest"].startswith("series ")


def test_the_rows_fit_the_results_table_and_an_interval_is_over_clusters():
    found = asked(made_up(knowledge=3))
    filters = pd.DataFrame(
        [("drugs", "0", "1", "a", True, "", 2.0, -1.0), ("drugs", "1", "2", "a", False, "backward", -1.0, 2.0)],
        columns=["domain", "item", "other", "template", "kept", "reason", "clean_diff", "corrupt_diff"],
    )
    counts = told.counts(filters)
    assert counts.loc["drugs"].to_dict() == {"kept": 1, "backward": 1} and counts.columns[0] == "kept"
    sensitivity = pd.DataFrame(
        [("drugs", "specialty", name, 0.1, 0.0, 0.2, 30, 5) for name in ("primary", "others", "random")],
        columns=["domain", "component", "labelling", "value", "low", "high", "n", "changed"],
    )
    scores = told.by_domain({"drugs": knowledge.scores(found)})
    by_item = told.by_domain({"drugs": knowledge.by_item(found)})
    tidy = results.tidy(
        told.rows(scores, {"drugs": True}, filters, by_item, sensitivity), model="m", technique="knowledge", seed=0
    )
    assert tidy[tidy["metric"] == "pair kept"]["value"].tolist() == [3.0]
    assert tidy[tidy["metric"] == "pairwise"]["n"].tolist() == [N, N]
    assert tidy[tidy["metric"] == "n-way, one order of answers"]["low"].isna().all()
    assert tidy[tidy["metric"] == "known"]["value"].tolist() == [1.0]
    assert told.labellings(sensitivity).loc["drugs"].tolist() == [5, *["0.100 (0.000 to 0.200)"] * 3]


def test_the_shares_of_questions_by_length_are_rows():
    rows = told.length_rows({"drugs": [5, 4, 5, 5], "foods": [7]})
    table = results.tidy(rows, model="m", technique="knowledge", seed=0)
    columns = ["domain", "position", "value", "n"]
    assert table[columns].to_numpy().tolist() == [["drugs", 4, 0.25, 4], ["drugs", 5, 0.75, 4], ["foods", 7, 1, 1]]


def test_the_questions_are_shown_with_what_is_asked_and_counted():
    found = asked(made_up())
    questions = found.questions.assign(prompt="w1 is", answer=[f" w{own}" for own in found.own])
    questions.attrs["asks"] = "what it is"
    row = told.questions({"mine": found._replace(questions=questions)}).loc["mine"]
    assert row["first question"] == "w1 is ... w0" and row["asks"] == "what it is"
    assert (row["items"], row["clusters"], row["answers"], row["begin"]) == (N, N, TOKENS, TOKENS)
    assert row["compared"] == "100%" and row["alone"] == 0


@pytest.mark.parametrize("names", [["drugs"], ["foods", "drugs"]])
def test_labels_are_redrawn_for_each_domain_that_has_several(names, monkeypatch):
    monkeypatch.setattr(told, "activations", lambda model, prompts, at: np.zeros((4, len(prompts), 2)))
    monkeypatch.setattr(
        told.atlas,
        "label_sensitivity",
        lambda states, frame, label, draws, seed: pd.DataFrame({"n": [len(states)], "changed": len(draws)}),
    )
    found = told.sensitivity(None, [*names, "age"], n_draws=2)
    assert found["domain"].tolist() == names and (found["n"] == 2).all() and (found["changed"] == 2).all()
