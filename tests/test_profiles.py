"""Profiles: a quick run is the same notebook with the parameters of quick.toml, and says so."""

import pytest
from test_execute import MODEL, build_house

from medlib import MedlibError, paths
from medlib.book import current, execute, profiles, promote


@pytest.fixture
def house(tmp_path):
    house = build_house(tmp_path / "house")
    (house / "notebooks" / "quick.toml").write_text("[tiny]\nrows = 1\n")
    return house


def test_a_profile_is_parameters(house):
    assert profiles.parameters("quick", "tiny", house) == {"rows": 1}
    assert profiles.parameters("full", "tiny", house) == profiles.parameters("quick", "other", house) == {}
    with pytest.raises(MedlibError, match="no profile 'fast'.*full, quick"):
        profiles.parameters("fast", "tiny", house)
    (house / "notebooks" / "quick.toml").write_text("[tiny\n")
    with pytest.raises(MedlibError, match="quick.toml cannot be read"):
        profiles.parameters("quick", "tiny", house)


def test_a_quick_run_is_quick_and_not_current_and_is_not_recorded(house):
    (outcome,) = execute.run_all(["tiny"], [MODEL], house=house, profile="quick")
    assert outcome.state == "done"
    assert current.state("tiny", MODEL, house=house) == ("quick", [])
    (again,) = execute.run_all(["tiny"], [MODEL], house=house, profile="quick")
    assert again.state == "current"
    page = (paths.runs(house) / MODEL / "tiny.ipynb").read_text()
    assert "quick: fewer items" in page and "-p rows=1" in page
    promoted, refused = promote.record(house)
    assert not promoted and "quick run" in refused[0]


def test_a_full_run_serves_for_a_quick_one_and_takes_its_place(house):
    for profile in ("quick", "full"):
        (outcome,) = execute.run_all(["tiny"], [MODEL], house=house, profile=profile)
        assert outcome.state == "done"
    assert current.state("tiny", MODEL, house=house) == ("current", [])
    (again,) = execute.run_all(["tiny"], [MODEL], house=house, profile="quick")
    assert again.state == "current"
    assert promote.record(house) == ([f"tiny on {MODEL}"], [])


def test_what_the_user_gives_goes_before_the_profile(house):
    execute.run("tiny", MODEL, {"rows": "2", "seed": "5"}, house=house, profile="quick")
    record = execute.complete(paths.runs(house) / MODEL, "tiny")
    assert record["parameters"]["rows"] == 2
    assert "own parameters" in (paths.runs(house) / MODEL / "tiny.ipynb").read_text()


def test_every_section_of_the_book_s_own_quick_toml_is_a_notebook_and_names_its_parameters():
    import tomllib

    house = paths.root()
    for technique, given in tomllib.loads((house / "notebooks" / "quick.toml").read_text()).items():
        _, defaults, values = current.prepare(technique, MODEL, given, house)
        assert values != defaults, f"{technique}: quick is no quicker than full"
