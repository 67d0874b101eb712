"""The cache is listed with sizes, and only what nothing needs, or what is named, is removed from it."""

import json
import re
import sys

import pytest
from filelock import FileLock
from standins import a_run

from medlib import MedlibError, cli, results
from medlib.book import building, caches
from medlib.book.pages import disk_pages
from medlib.models import embedded, zoo
from medlib.run import RECORD_VERSION

OLD = "smollm2-135m-0123456789abcdef-1"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache with weights of this version and of another, a killed conversion, compiled code, a stranger."""
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    now = embedded._kept(zoo.entry("smollm2-135m"))
    left = now.with_name(f".{now.name}.tmpx1y2")
    for place, bytes_ in ((now, 3000), (now.with_name(OLD), 2000), (left, 500), (now.with_name("numba"), 100)):
        place.mkdir(parents=True)
        (place / "file").write_bytes(b"0" * bytes_)
    (now.parent / "hashes.json").write_text("{}")
    (now.parent / "photographs").mkdir()
    (now.parent / f".{now.name}.lock").touch()
    return now.parent


def names(entries):
    return [entry.name for entry in entries]


def test_the_cache_is_listed_by_size_and_what_is_not_medlibs_is_left_out(folder):
    now = embedded._kept(zoo.entry("smollm2-135m")).name
    found = caches.kept()
    assert names(found) == [now, OLD, f".{now}.tmpx1y2", "numba", "hashes.json"]
    assert [entry.bytes for entry in found] == [3000, 2000, 500, 100, 2]
    assert [entry.needed for entry in found] == [True, False, False, True, True]


def test_pruning_removes_what_is_not_needed_and_nothing_else(folder):
    now = embedded._kept(zoo.entry("smollm2-135m")).name
    assert names(caches.prune()) == [OLD, f".{now}.tmpx1y2"]
    assert (folder / now).is_dir() and (folder / "photographs").is_dir() and (folder / "numba").is_dir()
    assert caches.prune() == []


def test_a_conversion_that_goes_on_is_needed(folder):
    now = embedded._kept(zoo.entry("smollm2-135m")).name
    with FileLock(folder / f".{now}.lock"):
        (entry,) = [entry for entry in caches.kept() if ".tmp" in entry.name]
        assert (entry.needed, entry.what) == (True, "a conversion that goes on")
        assert names(caches.prune()) == [OLD]
    assert names(caches.prune()) == [f".{now}.tmpx1y2"]


def test_what_is_named_is_removed_and_a_wrong_name_removes_nothing(folder):
    with pytest.raises(MedlibError, match="holds no 'photographs'"):
        caches.prune(["numba", "photographs"])
    assert (folder / "numba").is_dir()
    assert names(caches.prune(["numba", "hashes.json", "numba"])) == ["numba", "hashes.json"]
    assert not (folder / "numba").exists() and not (folder / "hashes.json").exists()


def test_an_empty_or_missing_cache_and_work_folder_are_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path / "none"))
    assert caches.kept() == caches.built(tmp_path) == caches.prune() == []


def test_the_command_lists_with_totals_and_prunes(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "_build" / "runs").mkdir(parents=True)
    (tmp_path / "_build" / "runs" / "x").write_bytes(b"0" * 2048)

    def medlib(*arguments):
        monkeypatch.setattr(sys, "argv", ["medlib", "cache", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out + err

    code, out = medlib()
    assert code == 0 and f"{folder}: 5.5 KiB" in out and "_build: 2.0 KiB" in out
    assert re.search(rf"{OLD} .*converted by another version.* 2.0 KiB .*not needed", out)
    assert "`medlib cache prune` frees 2.4 KiB." in out
    assert medlib("prune") == (0, medlib_removed(folder))
    assert medlib("prune") == (0, "Everything in the cache is of use to this version.\n")
    code, out = medlib("prune", "photographs")
    assert code == 1 and "holds no 'photographs'" in out


def medlib_removed(folder):
    now = embedded._kept(zoo.entry("smollm2-135m")).name
    return f"removed  {OLD}  2.0 KiB\nremoved  .{now}.tmpx1y2  500 B\n"


def test_the_page_of_times_and_disk_says_what_records_and_files_say(folder, tmp_path):
    (tmp_path / "_toc.yml").write_text("parts: []")
    a_run(tmp_path / "book" / "runs", "lesion", "smollm2-135m", seconds=312.0, threads=2)
    a_run(tmp_path / "book" / "runs", "geometry", "org/other")
    kept = embedded._kept(zoo.entry("smollm2-135m"))
    files = {name: {"size": size, "mtime_ns": 1, "sha256": "0"} for name, size in (("a", 2**30), ("b", 2**29))}
    (kept / embedded.RECORD).write_text(json.dumps({"files": files}))
    chapters, _ = building.choose(tmp_path)
    disk_pages.write(tmp_path, chapters)
    times, disk = ((tmp_path / f"{name}.md").read_text().replace("\xa0", " ") for name in ("times", "disk"))
    assert "| lesion | 5.2 min, 1.0 GiB, 2 threads | – |" in times
    assert "| geometry | – | 12 s, 1.0 GiB, 1 thread |" in times
    assert "| all | 5.2 min | 12 s |" in times
    table = (tmp_path / "book" / "runs" / "smollm2-135m" / "lesion.parquet").stat().st_size
    assert f"| `smollm2-135m` | 1 | {caches.said(table)} |" in disk and "| 1.5 GiB |" in disk
    assert "| `org/other` | 1 |" in disk and "| not here |" in disk


def test_the_page_on_upgrading_names_the_forms_that_this_version_reads():
    from pathlib import Path

    text = (Path(__file__).parent.parent / "book" / "upgrading.md").read_text(encoding="utf-8")
    forms = {
        "results table": results.SCHEMA_VERSION,
        "record": RECORD_VERSION,
        "converted weights": embedded.FORMAT,
    }
    for what, form in forms.items():
        assert re.search(rf"^\| {what}.*\| {form} \|$", text, re.M), what
    assert f"`{', '.join(results.COLUMNS)}`" in text
    assert f"**Table, form {results.SCHEMA_VERSION}**" in text and f"**Record, form {RECORD_VERSION}**" in text
