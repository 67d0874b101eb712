"""The first page: findings that turn with the tables, advice that follows from the tests, one screen for all of it."""

import pandas as pd
import pytest
from planted_maps import DOMAINS, a_map

from medlib import concepts, results
from medlib.book.claims import claims
from medlib.book.claims.evidence import CONTRADICTED, NOT_DECIDED, NOT_RUN, SUPPORTED, Number, Run, Verdict
from medlib.book.pages import front_page

# --- the findings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shared", "title"),
    [
        ([0.85], "The map is one of the model more than of medicine"),
        ([0.15], "The map is medicine's own"),
        ([0.85, 0.15], "Whether the map is medicine's own depends on the model"),
    ],
)
def test_a_map_that_its_control_shares_is_called_the_models(shared, title):
    found = front_page.whose_map({f"model-{i}": a_map(control=value) for i, value in enumerate(shared)})
    assert found.title == title
    assert all(f"{value:.2f}" in found.text for value in shared)
    assert "items by 0.90" in found.text and "by chance by 0.10" in found.text


def test_the_overlap_has_an_interval_over_the_domains_that_the_model_knows():
    shared = dict(zip(DOMAINS, (0.5, 0.6, 0.7, 0.8), strict=True))
    found = front_page.whose_map({"m": a_map(control=shared)})
    assert "0.65 (0.50 to 0.80) in `m`" in found.text
    without = front_page.whose_map({"m": a_map(control=shared, unknown=["symptoms"])})
    assert "0.60 (0.50 to 0.70) in `m`" in without.text
    two = front_page.whose_map({"m": a_map(control=shared, unknown=["symptoms", "drugs"])})
    assert "0.60 in `m`" in two.text  # of two domains there is no interval


def patched(apart, at=9.0, width=0.2):
    """A run in which the last token takes over at layer `at` of 12, and `apart` layers earlier in the controls."""
    rows = [dict(metric="recovered", value=1.0, layer=12, domain="drugs")]
    for domain in DOMAINS:
        for name, value in ((domain, at), (concepts.control(domain), at - apart)):
            rows.append(
                dict(metric="handover_interpolated", domain=name, value=value, low=value - width, high=value + width)
            )
        ends = dict(low=apart - width, high=apart + width)
        rows.append(dict(metric="handover_interpolated_difference", domain=domain, value=apart, **ends))
    known = [dict(metric="known", value=1.0, domain=name) for d in DOMAINS for name in (d, concepts.control(d))]
    known += [dict(metric="known", value=0.0, domain=name) for name in ("age", "dosage", "numbers", "elements")]
    return {
        name: Run(results.tidy(pd.DataFrame(of), model="m", technique=name), {})
        for name, of in (("patching", rows), ("knowledge", known))
    }


@pytest.mark.parametrize(
    ("run", "title"),
    [
        (patched(0.1), "late in the model, in medicine as outside it"),
        (patched(3.0, at=6.0), "halfway in the model, in medicine at other layers than outside it"),
        (patched(0.5, at=3.0, width=2.0), "early in the model"),
    ],
)
def test_the_takeover_is_said_with_its_depth_and_beside_its_control(run, title):
    found = front_page.where_it_is_taken_over({"m": run})
    assert found.title == f"The last token takes the answer over {title}"


def test_the_takeover_has_its_number_interval_and_control():
    text = front_page.where_it_is_taken_over({"m": patched(0.1)}).text
    assert "9.0 of 12 (8.8 to 9.2) in `m`" in text and "in the control from 8.9 (8.7 to 9.1)" in text
    assert "in no domain more than 0.1 layers apart" in text


def test_models_that_differ_in_depth_are_said_to():
    found = front_page.where_it_is_taken_over({"a": patched(0.1), "b": patched(0.1, at=3.0)})
    assert "at a depth that differs between models" in found.title


def test_of_many_models_the_lowest_and_the_highest_are_told():
    text = front_page.where_it_is_taken_over({f"m{at}": patched(0.1, at=float(at)) for at in (10, 9, 11)}).text
    assert "9.0 of 12 (8.8 to 9.2) in `m9` to 11.0 of 12 (10.8 to 11.2) in `m11`" in text and "m10" not in text


NUMBERS = dict(numbers=(Number("lead", -0.19, -0.22, -0.17),), controls=(Number("foods", -0.03, -0.04, -0.02),))


def verdicts(**words):
    """A claim's key -> model "m" -> verdict: `A4="contradicted"`; "alike" is supported, of the control too."""
    found = {}
    for claim in claims():
        word = words.get(claim.key, NOT_RUN)
        alike = word == "alike"
        found[claim.key] = {"m": Verdict(SUPPORTED if alike else word, "", alike=alike, **NUMBERS)}
    return found


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (dict(A1=NOT_DECIDED, A4=CONTRADICTED), "none is supported"),
        (dict(A1="alike", A4=CONTRADICTED), "none is shown to hold of medicine alone"),
        (dict(A1="alike", A6=SUPPORTED), "1 holds of medicine more than of the controls"),
        (dict(A1=SUPPORTED, A6=SUPPORTED, B1=SUPPORTED), "2 hold of medicine more than of the controls"),
    ],
)
def test_a_claim_that_holds_of_the_control_as_well_is_no_claim_of_medicine(words, says):
    n = sum(claim.work == "A" for claim in claims())
    assert front_page.claims_held(verdicts(**words)).title == f"Of {n} published claims, {says}"


def test_the_claims_are_counted_and_a_contradicted_one_is_shown_with_interval_and_control():
    text = front_page.claims_held(verdicts(A1="alike", A4=CONTRADICTED, A7=NOT_DECIDED)).text
    assert "`m`: 1 supported (all true of the controls too), 1 contradicted, 1 not decided." in text
    assert "(#claim-a4)" in text and "−0.19 (−0.22 to −0.17); control −0.03 (−0.04 to −0.02)" in text


def test_what_did_not_run_says_which_command_would():
    whose, where, held = front_page.findings({}, {}, verdicts())
    assert "`medlib run knowledge_map`" in whose.text and "`medlib run patching`" in where.text
    assert "`medlib run-all`" in held.text
    assert all("not known yet" in finding.title for finding in (whose, where, held))


# --- what follows in practice -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "q", "edit", "tune"),
    [
        ({"lesion": 0.01, "steering": 0.01}, 0.01, True, True),
        ({"lesion": 0.01, "steering": 0.5}, 0.01, False, True),
        ({"lesion": 0.5, "steering": 0.5}, 0.01, False, False),
        ({"lesion": 0.01, "steering": 0.01}, 0.5, False, False),  # the domain is not told from its control
        ({}, 0.01, False, False),  # nobody tested
    ],
)
def test_layers_are_named_for_editing_only_where_both_tests_and_the_control_allow_it(p, q, edit, tune):
    said = front_page.practice(a_map(p=p, q=q, mapped={("minus control", "consensus"): [7, 8]}))
    assert ("drugs 7–8" in said["edit"], "drugs 7–8" in said["fine-tune"]) == (edit, tune)
    assert (said["edit"] == "no layers: 0 of 4 domains pass") != edit
    assert ("(0.75)" in said["edit"]) == edit  # how sure


def test_layers_are_to_be_left_alone_where_every_domain_and_every_control_needs_them():
    def alone(**options):
        return front_page.practice(a_map(**options))["leave alone"]

    assert alone(mapped={("plain", "lesion"): [1, 2, 9], ("foods", "lesion"): [1, 2, 6]}) == "1–2 (0.75)"
    elsewhere = {("plain", "lesion"): [1, 2], ("foods", "lesion"): [6, 7]}
    assert alone(mapped=elsewhere) == "no layers: none is mapped in all of 8 domains and controls"
    assert alone(mapped=elsewhere, unknown=["foods"]) == "1–2 (0.75)"  # what a model does not know tells nothing


def test_a_concept_is_to_be_probed_at_the_end_of_its_rise_or_above():
    mapped = {("drugs", "geometry"): [8, 9], ("symptoms", "geometry"): [11, 12], ("diseases", "geometry"): None}
    probe = front_page.practice(a_map(mapped=mapped, unknown=["symptoms"]))["probe"]
    assert probe == "drugs 9, progression 5 (0.75)"
    nothing = front_page.practice(a_map(mapped={("plain", "geometry"): None}))
    assert nothing["probe"] == "not known: geometry maps no domain"


# --- the page ---------------------------------------------------------------------------------------------------------


class Chapter:
    """A run as the first page reads it."""

    technique = "knowledge_map"

    def __init__(self, folder, name, table):
        self.name, self.folder, self.page = name, folder / name, f"runs/{name}/knowledge_map"
        self.folder.mkdir()
        results.write(table, self.file(".parquet"))

    def file(self, suffix):
        return self.folder / f"knowledge_map{suffix}"


@pytest.mark.parametrize("n", [1, 4])
def test_the_map_of_the_model_that_knows_most_is_drawn_and_the_table_has_at_most_three(tmp_path, n):
    chapters = [Chapter(tmp_path, f"m{i}", a_map(unknown=["drugs"] if i != n - 1 else ())) for i in range(n)]
    front_page.write(tmp_path, chapters, {}, verdicts())
    said = {name: (tmp_path / f"front_{name}.md").read_text() for name in ("map", "findings", "practice", "sure")}
    assert (tmp_path / "front_map.png").stat().st_size > 10_000
    assert f"/runs/m{n - 1}/knowledge_map.ipynb" in said["map"] and ":alt: " in said["map"]
    assert [line[:2] for line in said["findings"].splitlines() if line[:1].isdigit()] == ["1.", "2.", "3."]
    assert said["practice"].count("`m") == min(n, 3) and "`medlib map m0`" in said["sure"]
    assert ("of 1 more model:" in said["sure"]) == (n == 4)


def test_without_runs_there_is_one_sentence_and_without_a_map_its_command(tmp_path):
    front_page.write(tmp_path, [], {}, verdicts())
    assert (tmp_path / "front_map.md").read_text() == front_page.NO_RUNS
    assert (tmp_path / "front_findings.md").read_text() == (tmp_path / "front_practice.md").read_text() == ""
    lesion = type("Lesion", (), dict(technique="lesion", name="m"))()
    front_page.write(tmp_path, [lesion], {}, verdicts())
    assert "`medlib run knowledge_map`" in (tmp_path / "front_map.md").read_text()


def test_one_screen_holds_the_question_the_map_the_findings_the_practice_and_the_commands(this_book, visit):
    tab, heard = visit("desk")
    tab.goto((this_book / "index.html").as_uri())
    for part in (
        "article h1",
        ".front-map img",
        ".front-findings ol > li:nth-child(3)",
        ".front-practice table",
        "article pre",
    ):
        box = tab.locator(part).first.bounding_box()
        assert box["height"] > 0 and box["y"] + box["height"] <= 900, part
    assert heard == []
