"""What the README shows works as it stands there."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_readmes_python_runs(smollm2, monkeypatch):
    monkeypatch.setattr("medlib.models.loading.load", lambda name: smollm2)
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_every_file_of_the_house_is_where_the_readme_says():
    root = Path(__file__).parent.parent
    named = re.findall(r"^\| ([^|]+) \|", README.split("## The house")[1].split("##")[0], re.M)[2:]
    places = [place for cell in named for place in re.findall(r"`([^`]+)`", cell)]
    assert len(places) > 10
    folder = ""
    for place in places:
        folder = place.rpartition("/")[0] if "/" in place.rstrip("/") else folder
        assert (root / place).exists() or (root / folder / place).exists() or (root / "medlib" / place).exists(), place
