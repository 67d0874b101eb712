"""What is damaged is not read, what broke off goes on, and the script that tries it would see if it were not so."""

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from standins import a_run

from medlib.book.pages import fault_pages

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))
import fault_damage  # noqa: E402
import fault_found  # noqa: E402
import fault_house  # noqa: E402
import faults  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def chance():
    return random.Random(0)


def lost(row):
    return [outcome for outcome in row["outcomes"] if outcome.startswith("LOST")]


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_damaged_file_of_a_run_is_never_taken_for_one(tmp_path, chance):
    found = fault_damage.runs(tmp_path / "house", chance, 60, again=40)
    assert lost(found) == [] and found["holds"] and found["n"] > 50
    assert found["outcomes"]["not taken for a run"] > 35


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    fault_damage.tiny_hf("llama").save_pretrained(folder, max_shard_size=fault_damage.SHARD)
    fault_damage.word_tokenizer().save_pretrained(folder)
    return folder


def test_a_shard_cut_short_anywhere_is_refused(saved, tmp_path, chance):
    found = fault_damage.shards(saved, tmp_path / "copy", chance, 10)
    assert found["outcomes"] == {fault_damage.REFUSED: 10} and found["messages"]


def test_a_download_that_breaks_off_gives_no_model_and_the_next_goes_on(saved, tmp_path, chance):
    found = fault_damage.downloads(saved, tmp_path, chance, 2)
    assert found["n"] == 2 and lost(found) == []
    assert not [said for said in found["next"] if said.startswith("the next load")]


# --- the script sees what it looks for --------------------------------------------------------------------------------


@pytest.fixture
def trials(tmp_path):
    """The trials' house, with two stored runs that nothing was executed for."""
    trials = object.__new__(faults.Trials)
    trials.house = fault_house.build_house(tmp_path / "house", ROOT)
    trials.value, trials.stored = 3, {}
    for value in (3, 4):
        rows = {"metric": "kl", "value": [float(value)], "item": "aspirin"}
        folder = a_run(tmp_path / f"{value}", fault_house.TECHNIQUE, fault_house.MODEL, rows=rows)
        trials.stored[value] = fault_house.files(folder)
    for folder in fault_house.folders(trials.house):
        fault_house.put(3, folder, trials.stored)
    return trials


def test_what_was_there_before_and_a_whole_successor_are_no_loss(trials):
    before = trials.prepare("record")
    assert (trials.value, fault_house.value_of(trials.local)) == (4, 4)
    assert trials.look("record", before) == faults.KEPT
    fault_house.put(4, trials.committed, trials.stored)
    assert trials.look("record", before) == faults.WHOLE


@pytest.mark.parametrize("part", fault_house.PARTS)
def test_a_file_of_another_run_or_none_is_a_loss(trials, part):
    name = f"{fault_house.TECHNIQUE}{part}"
    before = trials.prepare("record")
    (trials.committed / name).unlink()
    assert trials.look("record", before).startswith("LOST")
    fault_house.put(3, trials.committed, trials.stored)
    (trials.committed / name).write_bytes(b"half")
    assert trials.look("record", before).startswith("LOST")


def test_a_run_that_stands_ready_is_no_loss_however_far_it_came(trials):
    before, ready = trials.prepare("record"), trials.committed / f".{fault_house.TECHNIQUE}.ready"
    for done in range(4):
        fault_house.put(3, trials.committed, trials.stored)
        fault_house.put(4, ready, trials.stored)
        for part in fault_house.PARTS[:done]:
            name = f"{fault_house.TECHNIQUE}{part}"
            (ready / name).replace(trials.committed / name)
        assert trials.look("record", before) == faults.WHOLE and not ready.exists()


def test_a_change_of_what_a_command_does_not_write_is_a_loss(trials):
    before = trials.prepare("build")
    fault_house.put(3, trials.local, trials.stored)
    assert trials.look("build", before).startswith("LOST")


def test_a_new_run_that_a_stale_one_hides_or_that_is_made_again_is_a_loss(trials, monkeypatch):
    trials.context = None
    for value, printed, lost in ((3, " current ", False), (4, " current ", True), (3, " done ", True)):
        ended = SimpleNamespace(printed=printed)
        monkeypatch.setattr(faults.house_of, "chosen", lambda house, value=value: value)
        monkeypatch.setattr(faults, "Command", lambda *_, ended=ended: SimpleNamespace(ended=lambda: ended))
        assert trials.chosen("clock +400 days", changed=True).startswith("LOST") == lost


def test_a_row_holds_when_nothing_was_lost_and_the_next_command_ended_well():
    assert fault_found.row("a", "run", [faults.KEPT, faults.WHOLE], [])["holds"]
    assert not fault_found.row("a", "run", [faults.KEPT, "LOST: all"], [])["holds"]
    assert not fault_found.row("a", "run", [faults.KEPT], ["the next run ended with 1"])["holds"]


def test_a_message_names_no_temporary_file_and_keeps_the_rest():
    said = fault_house.without_temporary("./_build/work/12-5bce98f7.record.x_y/a.json cannot be written")
    assert said == "./_build/work/.../a.json cannot be written"
    assert fault_house.without_temporary("./_build/runs/m/tmpvujm5txa is full") == "./_build/runs/m/... is full"
    assert fault_house.without_temporary("./_build/build.lock is locked") == "./_build/build.lock is locked"


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_was_counted_and_what_did_not_hold(tmp_path):
    good = fault_found.row("kill -9", "run", [faults.KEPT, faults.KEPT, faults.WHOLE], [])
    bad = fault_found.row("disk full", "build", ["LOST: there is no book"], ["it ended with 1"], ["No space <left>"])
    found = {"machine": {"cores": 2}, "kills_run": [good], "full": [bad]}
    found["made_up"] = [fault_found.row("any text is text", "made-up input", ["as it should be"] * 1500, [])]
    (tmp_path / "faults.json").write_text(json.dumps(found))
    fault_pages.write(tmp_path, tmp_path)
    said = (tmp_path / "faults.md").read_text()
    assert "4 faults in all, 3 of them kills; 1 of 2 kinds held each time." in said and "cores 2" in said
    assert f"| kill -9 | run | 3 | yes | {faults.KEPT} (2); {faults.WHOLE} (1) |" in said
    assert "| NO | LOST: there is no book (1); it ended with 1 (1) |" in said
    assert "| disk full | build | No space \\<left\\> |" in said
    cases = (tmp_path / "fault_cases.md").read_text()
    assert "| any text is text | 1,500 | yes | – |" in cases and "1,500 cases in all; 1 of 1 properties held" in cases


def test_what_was_not_tried_is_said_with_the_command_that_does(tmp_path):
    fault_pages.write(tmp_path, tmp_path / "nowhere")
    assert all("`make bench-faults`" in (tmp_path / f"{name}.md").read_text() for name in ("faults", "fault_cases"))
