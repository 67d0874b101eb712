"""The record of a run: all that is needed to repeat it, nothing about who did, the same text for the same findings."""

import getpass
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import medlib
from medlib import MedlibError, paths, results
from medlib import run as run_module
from medlib.models import zoo

ROWS = [{"metric": "kl", "value": 1.0, "domain": "drugs", "item": item} for item in ("aspirin", "aspirin", "insulin")]


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDLIB_RUNS", str(tmp_path))

    def start(technique="lesion", **parameters):
        source = {"kind": "folder", "id": str(Path.home() / "models" / "mine")}
        model = SimpleNamespace(name="org/tiny", source=source, revision="abc", weights_sha256="0" * 64, device="cpu")
        return medlib.Run(technique, model, parameters=parameters, seed=7)

    return start


def record_of(run):
    return json.loads((run.folder / f"{run.technique}.json").read_text())


def test_a_saved_run_is_a_table_and_a_record_in_the_models_folder(start, tmp_path):
    run = start(domain="drugs", share=np.float32(0.5))
    run.check("planted block found", passed=np.True_, detail="block 3")
    run.number("peak_layer", np.int64(3), "layer 3")
    run.save(ROWS)
    assert run.folder == tmp_path / "org--tiny"
    table = results.read(run.folder / "lesion.parquet")
    assert table[["model", "technique", "seed"]].drop_duplicates().values.tolist() == [["org/tiny", "lesion", 7]]
    record = record_of(run)
    assert record["table"] == {"rows": 3, "items": 2}
    assert record["parameters"] == {"domain": "drugs", "share": 0.5}
    assert record["numbers"] == {"peak_layer": {"value": 3, "text": "layer 3"}}
    assert record["checks"] == [{"name": "planted block found", "passed": True, "detail": "block 3"}]
    assert record["model"]["weights_sha256"] == "0" * 64
    assert record["seconds"] >= 0
    assert record["peak_memory_bytes"] > 10 * 2**20
    assert {"medlib/run.py", "medlib/results.py"} <= set(record["sources"])
    assert {"python", "torch", "transformers", "numpy"} <= set(record["versions"])


def test_numbers_and_checks_after_the_table_join_the_record(start):
    run = start()
    run.save(ROWS)
    run.number("late", 1.5, "1.5")
    run.check("after", passed=True)
    assert "late" in record_of(run)["numbers"]
    assert record_of(run)["checks"][0]["name"] == "after"


def test_the_record_names_no_home_host_user_or_token(start, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    run = start(folder=str(Path.home() / "data"), note="token hf_secretsecret", place=str(Path.cwd() / "x"))
    run.save(ROWS)
    text = (run.folder / "lesion.json").read_text()
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text
    assert "hf_secretsecret" not in text
    assert platform.node() not in text
    assert f"/{getpass.getuser()}" not in text
    assert record_of(run)["model"]["source"]["id"] == "~/models/mine"


@pytest.mark.parametrize("variable", ["HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME", "HOME"])
def test_the_token_of_a_login_is_hidden_wherever_the_hub_library_keeps_it(variable, tmp_path, monkeypatch):
    places = {"HF_TOKEN_PATH": "", "HF_HOME": "token", "XDG_CACHE_HOME": "huggingface/token"}
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", *places):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "x" / places.get(variable, ".cache/huggingface/token")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("hf_fromthefile\n")
    monkeypatch.setenv(variable, str(tmp_path / "x"))
    assert paths.public({"a": ["token hf_fromthefile"]}) == {"a": ["token <token>"]}
    asked = f"import huggingface_hub as hub; assert hub.get_token() == {file.read_text().strip()!r}"
    subprocess.run([sys.executable, "-c", asked], check=True)
    file.unlink()
    assert paths.public("token hf_fromthefile") == "token hf_fromthefile"
    monkeypatch.setenv("HF_TOKEN", " hf_fromoutside\n")  # the hub library trims it
    assert paths.public("token hf_fromoutside") == "token <token>"


def test_the_library_of_the_hub_is_not_imported_to_hide_its_token():
    hidden = "import sys; from medlib import paths; paths.public('x'); assert 'huggingface_hub' not in sys.modules"
    subprocess.run([sys.executable, "-c", hidden], check=True)


def test_records_of_equal_runs_differ_in_time_and_memory_alone(start):
    records = []
    for parameters in ({"b": 1, "a": 2}, {"a": 2, "b": 1}):
        run = start(**parameters)
        run.save(ROWS)
        lines = (run.folder / "lesion.json").read_text().splitlines()
        measured = ("seconds", "finished", "peak_memory")
        records.append([line for line in lines if not line.lstrip().startswith(tuple(f'"{name}' for name in measured))])
    assert records[0] == records[1]


def test_a_failed_check_stops_the_run_and_nothing_is_written(start):
    run = start()
    with pytest.raises(MedlibError, match="'planted block found' failed: block 2"):
        run.check("planted block found", passed=False, detail="block 2")
    assert not run.folder.exists()


def test_what_a_record_cannot_hold_is_refused(start):
    run = start()
    for value in (float("nan"), np.inf, object()):
        with pytest.raises(MedlibError, match="a record holds finite numbers"):
            run.number("x", value, "text")
    with pytest.raises(MedlibError, match="parameters.*a record holds"):
        start(model=object())


def test_a_key_is_a_word_and_used_once(start):
    run = start()
    run.number("peak", 1, "1")
    with pytest.raises(MedlibError, match="'peak' is recorded already"):
        run.number("peak", 2, "2")
    with pytest.raises(MedlibError, match="letters, digits and _"):
        run.number("peak layer", 2, "2")


def test_a_table_without_rows_and_a_technique_that_is_a_path_are_refused(start):
    with pytest.raises(MedlibError, match="has no rows"):
        start().save([])
    with pytest.raises(MedlibError, match="got '../lesion'"):
        start("../lesion")


def test_peak_memory_grows_with_what_the_process_holds(start):
    before = start().record()["peak_memory_bytes"]
    held = np.ones(256 * 2**20 // 8)
    assert start().record()["peak_memory_bytes"] >= before
    assert start().record()["peak_memory_bytes"] >= held.nbytes


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("smollm2-135m", "smollm2-135m"),
        ("org/model-7b", "org--model-7b"),
        (str(Path.home() / "models/mine"), "mine"),
        ("../../etc", "etc"),
        ("a\\b:c", "a-b-c---c4b70e9a4f42a166"),
        ("./smollm2-135m", "smollm2-135m-folder"),
        ("./模型", "model---c98e118e0a43f078"),
        ("..", None),
    ],
)
def test_a_models_name_makes_a_file_name_that_stays_in_its_folder(model, name, tmp_path):
    slug = paths.slug(model)
    assert slug == name if name else "/" not in slug
    assert (tmp_path / slug).resolve().parent == tmp_path.resolve()


def test_two_models_never_share_a_folder_and_those_of_the_zoo_and_the_hub_have_plain_ones():
    alike = ["org/m", "org--m", "org---m", "org/-m", "org-/m", "org//m", "org\\m", "org-m", "org:m", "org m", "org/m/n"]
    alike += ["org/m--n", "org--m/n", "模", "型", "model", "\ud800", "\udc80", "a\udc80", "a-", "x" * 300, "x" * 301]
    alike += [paths.slug(name) for name in alike if "---" in paths.slug(name)]
    slugs = {paths.slug(name) for name in alike}
    assert len(slugs) == len(set(alike)) == len(alike)
    assert (paths.slug("/org/m"), paths.slug("./org--m")) == ("m", paths.slug("org--m"))  # folders: by their names
    for name in zoo.names():
        assert paths.slug(name) == name
        if hub := zoo.entry(name).get("hub"):
            assert paths.slug(hub) == hub.replace("/", "--")


@pytest.mark.parametrize("model", ["/models/\ud800", "./\udc80", "/models/a\0b", "~nobody-of-this-name/m"])
def test_a_folder_that_cannot_be_has_a_file_name_all_the_same(model):
    slug = paths.slug(model)
    assert slug.isascii() and not set("/\0~") & set(slug)


def test_half_a_character_is_refused_in_what_is_given_and_shown_as_it_is_typed_elsewhere(start):
    for given in ({"path": "a\udc80"}, {"paths": ["a\ud800"]}, {"a": {"\ud800": 1}}):
        with pytest.raises(MedlibError, match="has half a character"):
            start(**given)
    run = start()
    for value, text in (("\ud800", None), (1, "one\ud800")):
        with pytest.raises(MedlibError, match="x is .*has half a character"):
            run.number("x", value, text)
    run.check("seen", passed=True, detail="file a\udc80.png, face \U0001f600")
    run.model.source = {"kind": "folder", "id": "b\udc80"}
    run.save(ROWS)
    record = json.loads((run.folder / "lesion.json").read_bytes().decode("utf-8"))
    assert record["checks"][0]["detail"] == "file a\\udc80.png, face \U0001f600"
    assert record["model"]["source"]["id"] == "b\\udc80"


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    paths.write_atomically(path, b"old")

    def full(handle):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        paths.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


def test_the_files_of_ones_own_domain_are_among_the_data(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("title = 'Mine'")
    (tmp_path / "mine.csv").write_text("item")
    run = start(domain="mine.toml", control="foods")
    run.save([{"metric": "kl", "value": 1.0}])
    recorded = record_of(run)["data"]
    assert recorded["mine.csv"] == run_module.sha256(tmp_path / "mine.csv")
    (tmp_path / "mine.csv").write_text("another item")
    assert run_module.data({"domains": "drugs mine.toml"}, tmp_path) != recorded
    assert run_module.data({"domain": "foods"}) == {k: v for k, v in recorded.items() if not k.startswith("mine")}


def test_a_table_of_ones_own_brings_that_of_its_control(tmp_path):
    for name, line in (("mine", 'control = "like.toml"'), ("like", "")):
        (tmp_path / f"{name}.toml").write_text(line)
        (tmp_path / f"{name}.csv").write_text("item")
    found = run_module.data({"comparisons": "mine.toml:kind/kind"}, tmp_path)
    assert {"mine.csv", "like.csv", "like.toml"} <= set(found)
    (tmp_path / "like.csv").write_text("another")
    assert run_module.data({"domains": "mine.toml"}, tmp_path) != found


@pytest.mark.parametrize(
    "line", ["control = 'like.toml'", '  control = "like.toml" # of the same form', "'control'='like.toml'"]
)
def test_a_control_is_found_however_the_toml_is_written(tmp_path, line):
    (tmp_path / "mine.toml").write_text(line)
    (tmp_path / "like.toml").touch()
    assert "like.toml" in run_module.data({"domain": "mine.toml"}, tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"control = [", b"\xff", b"control = 3", b"control = 'x/like.toml'", b"[columns]\ncontrol = 'like.toml'"],
)
def test_a_description_that_names_no_control_or_is_damaged_counts_alone(tmp_path, content):
    (tmp_path / "mine.toml").write_bytes(content)
    (tmp_path / "like.toml").touch()
    assert {"mine.toml", "mine.csv"} <= set(found := run_module.data({"domain": "mine.toml"}, tmp_path))
    assert "like.toml" not in found


@pytest.mark.parametrize(
    "parameters",
    [
        {"domains": ["drugs", "my tables/mine.toml"]},
        {"of": {"each": [["my tables/mine.toml"]]}},
        {"comparison": "my tables/mine.toml:kind/kind"},
    ],
)
def test_a_table_is_found_in_a_list_and_with_a_blank_in_its_name(tmp_path, parameters):
    (tmp_path / "my tables").mkdir()
    (tmp_path / "my tables" / "mine.toml").write_text("control = 'like.toml'")
    (tmp_path / "my tables" / "like.toml").touch()
    found = set(run_module.data(parameters, tmp_path))
    assert {f"my tables/{name}" for name in ("mine.toml", "mine.csv", "like.toml")} <= found


def test_a_text_too_long_for_a_file_names_no_table(tmp_path):
    assert run_module.data({"domains": "drugs " * 1000 + "mine.toml"}, tmp_path) == run_module.data({}, tmp_path)


def test_a_table_names_the_file_of_a_domain_without_the_place_it_lies_at(start):
    run = start()
    mine = str(Path.home() / "tables" / "mine.toml")
    run.save([{"metric": "kl", "value": 1.0, "domain": domain, "item": "aspirin"} for domain in (mine, "drugs", None)])
    domains = results.read(run.folder / "lesion.parquet")["domain"]
    assert domains.dropna().tolist() == ["~/tables/mine.toml", "drugs"] and domains.isna().tolist() == [
        False,
        False,
        True,
    ]


def test_a_table_counts_as_data_where_a_module_beside_it_is_in_use():
    concepts = run_module.data({}, used=["medlib/concepts/tables.py", "medlib/run.py"])
    assert "medlib/concepts/drugs.csv" in concepts
    assert run_module.data({}, used=["medlib/run.py", "medlib/a_room_that_was_removed/module.py"]) == {}
