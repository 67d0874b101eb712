"""Items: questions about pictures, with answers that are known because the picture was made.

A scene is the row of parameters that a picture is drawn from; an item is one question about a scene.  Every scene has a
generator of its own, seeded by (seed, split, number), so any one can be made alone and the same row gives the same
bytes.

Nothing of a held-out scene is in training: slices come from bands of positions with gaps between (a slice is 1 mm, a
gap 2), lesions have radii between those trained on, and other pictures are cropped from another part.  "other-template"
are held-out scenes on the second template, which is another average of the same people (volumes.py).
"""

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt

from medlib.errors import MedlibError
from medlib.scans import other_pictures, volumes
from medlib.scans.lesions import Lesion, paint
from medlib.scans.slices import PLANES, SIZE, View, millimetres, pixel_of, plane_of, sample, to_picture

SPLITS = ("train", "held-out", "other-template")
BAND = 16  # mm: each band of positions has 10 mm for training, a gap, 2 for what is held out, a gap
RANGES = {"axial": (-30, 62), "coronal": (-86, 52), "sagittal": (-56, 56)}  # mm that slices are taken from
RADII = {"train": ((5.0, 6.5), (7.5, 10.0)), "held-out": ((6.7, 7.3), (6.7, 7.3))}  # mm; either range is as likely
LEVELS = {"bright": (0.82, 1.0), "dark": (0.03, 0.2)}  # of a lesion, where the brain's brightest is TISSUE
TISSUE = 0.7
INSIDE, OFF_MIDLINE = 6, 10  # mm from the brain's edge; from the middle, so that a side can be told
CLEAR = 0.7  # share of a lesion that lies in one lobe, for its lobe to be asked
LARGE = 60  # mm2 of a structure in a slice, for it to be marked
KINDS = {"slice": 0.7, "mark": 0.15, "other": 0.15}  # scenes: plain slice, slice with a mark, other picture
RING = (255, 220, 0)  # the mark's colour: nothing else in a slice has one

QUESTIONS = {  # kind -> wordings, answers; the answers' first tokens differ
    "modality": (
        [
            "Which imaging modality is this?",
            "How was this image made?",
            "What kind of medical image is shown?",
            "Name the modality of this image.",
        ],
        ["MRI", "CT", "photograph", "microscopy"],
    ),
    "plane": (
        [
            "In which plane is this slice?",
            "Which anatomical plane is shown?",
            "Is this slice axial, coronal or sagittal?",
            "Name the plane of this brain slice.",
        ],
        ["axial", "coronal", "sagittal"],
    ),
    "lesion": (
        [
            "Is there a lesion?",
            "Does this slice show a lesion?",
            "Can a lesion be seen in this image?",
            "Is a focal abnormality present?",
        ],
        ["yes", "no"],
    ),
    "polarity": (
        [
            "Is the lesion bright or dark?",
            "Is the lesion brighter or darker than the tissue around it, bright or dark?",
            "How does the lesion appear, bright or dark?",
            "What is the signal of the lesion, bright or dark?",
        ],
        ["bright", "dark"],
    ),
    "side": (
        [
            "On which side of the patient is the lesion?",
            "Is the lesion left or right?",
            "Which hemisphere holds the lesion?",
            "Name the side of the lesion.",
        ],
        ["left", "right"],
    ),
    "lobe": (
        [
            "In which lobe is the lesion?",
            "Which lobe holds the lesion?",
            "Name the lobe of the lesion.",
            "Where is the lesion, in which lobe?",
        ],
        list(volumes.LOBES),
    ),
    "structure": (
        [
            "Which structure is marked?",
            "What is inside the yellow ring?",
            "Name the structure at the mark.",
            "What does the mark show?",
        ],
        list(volumes.STRUCTURES),
    ),
}
BLANK = dict(  # a scene's columns, with what stands where they do not apply
    kind="", template="", plane="", position=0, mirrored=False, angle=0.0, zoom=1.0, across=0.0, down=0.0,
    gamma=1.0, gain=1.0, noise=0.0, seed=0,
    lesion=False, polarity="", side="", lobe="", lesion_across=0.0, lesion_down=0.0, radius=0.0, stretch=1.0,
    turn=0.0, level=0.0, lesion_seed=0,
    structure="", mark_across=0.0, mark_down=0.0,
    source="", part="", size=0.0, left=0.0, top=0.0, turns=0,
)  # fmt: skip


def make_scenes(split, count, seed=0, first=0):
    """Scenes of a split: a data frame, one row a picture, with the columns of `BLANK`, `split` and `scene` (a number).

    >>> make_scenes("train", 3, seed=1).equals(make_scenes("train", 2, seed=1, first=1))     # rows 1 and 2: the same

    Scene `first` and the `count - 1` after it.  Raises `MedlibError` for an unknown split.
    """
    return pd.DataFrame([scene(split, number, seed) for number in range(first, first + count)])


def make_items(split, scenes, seed=0, first=0):
    """Every question about the scenes of a split: a data frame, one row a question.

    >>> make_items("held-out", 100)[["scene", "question_kind", "question", "answer"]]

    `question_kind` is one of `QUESTIONS`, `wording` the number of its wording; the scene's columns come with it, so a
    row is all that `draw` needs.  Items of a scene are neighbours and share its picture.
    """
    rows = []
    for number in range(first, first + scenes):
        row = scene(split, number, seed)
        rows += [row | item for item in questions(row, seed)]
    return pd.DataFrame(rows)


def draw(row):
    """The picture of a scene or item and the mask of its lesion: uint8 `[120, 120, 3]`, bool `[120, 120]`.

    The same row gives the same bytes.  `row`: a row of `make_scenes` or `make_items`, or a dict of its columns.
    """
    no_mask = np.zeros((SIZE, SIZE), bool)
    if row["kind"] == "other":
        places = row["size"], row["left"], row["top"]
        return other_pictures.crop(row["source"], row["part"], *places, int(row["turns"])), no_mask
    volume, view = volumes.load(row["template"]), view_of(row)
    brightness, mask = TISSUE * sample((volume.t1, volume.origin), view), no_mask
    if row["lesion"]:
        spot = Lesion(
            row["lesion_across"],
            row["lesion_down"],
            row["radius"],
            row["stretch"],
            row["turn"],
            row["level"],
            int(row["lesion_seed"]),
        )
        brightness, mask = paint(brightness, *millimetres(view), spot)
    picture = to_picture(brightness, row["gamma"], row["gain"], row["noise"], int(row["seed"]))
    if row["structure"]:
        r, c = pixel_of(view, row["mark_across"], row["mark_down"])
        away = np.hypot(*(np.indices((SIZE, SIZE)) - np.array([r, c])[:, None, None]))
        picture[np.abs(away - 5) < 1] = RING
    return picture, mask


def view_of(row):
    """The view that a slice's picture is drawn with; for scenes of kind "other" there is none."""
    return View(
        row["plane"],
        int(row["position"]),
        bool(row["mirrored"]),
        row["angle"],
        row["zoom"],
        row["across"],
        row["down"],
    )


def mirror(row):
    """The same scene of the mirrored brain: its picture is flipped about the middle, and left is right.

    Raises `MedlibError` for a sagittal slice or another picture, which have no sides.
    """
    if row["plane"] not in ("axial", "coronal"):
        raise MedlibError("Only axial and coronal slices can be mirrored; others show no left and right.")
    other = {"left": "right", "right": "left", "": ""}
    changed = dict(row) | dict(mirrored=not row["mirrored"], side=other[row["side"]])
    changed |= dict(angle=-row["angle"], across=-row["across"])
    if row.get("question_kind") == "side":
        changed["answer"] = changed["side"]
    return changed


def scene(split, number, seed=0):
    """One scene as a dict; see `make_scenes`."""
    if split not in SPLITS:
        raise MedlibError(f"There is no split {split!r}; there are {', '.join(SPLITS)}.")
    rng = np.random.default_rng([seed, SPLITS.index(split), number])
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    part = "train" if split == "train" else "held-out"
    row = BLANK | dict(split=split, scene=number, kind=kind, seed=int(rng.integers(2**31)))
    if kind == "other":
        size, left, top = (float(share) for share in rng.uniform(size=3))
        source = str(rng.choice(list(other_pictures.MODALITIES)))
        return row | dict(source=source, part=part, size=size, left=left, top=top, turns=int(rng.integers(8)))
    row["template"] = volumes.TEMPLATES[split == "other-template"]
    row |= _marked(row["template"], part, rng) if kind == "mark" else _plain(row["template"], part, rng)
    row["mirrored"] = bool(row["plane"] != "sagittal" and rng.random() < 0.5)
    if row["side"] and row["mirrored"]:
        row["side"] = "left" if row["side"] == "right" else "right"
    angle, across, down = rng.uniform(-1, 1, 3)
    row |= dict(angle=float(12 * angle), zoom=float(rng.uniform(0.95, 1.15)))
    row |= dict(across=float(8 * across), down=float(8 * down))
    return row | dict(
        gamma=float(rng.uniform(0.8, 1.25)), gain=float(rng.uniform(0.85, 1.05)), noise=float(rng.uniform(0, 0.03))
    )


def questions(row, seed=0):
    """The items of a scene: a list of dicts with `question_kind`, `wording`, `question` and `answer`."""
    rng = np.random.default_rng([seed, SPLITS.index(row["split"]), row["scene"], 1])
    if row["kind"] == "other":
        known = {"modality": other_pictures.MODALITIES[row["source"]]}
    else:
        known = {"modality": "MRI"} if rng.random() < 0.05 else {}
        known["plane"] = row["plane"]
        if row["kind"] == "mark":
            known["structure"] = row["structure"]
        else:
            known["lesion"] = "yes" if row["lesion"] else "no"
            known |= {kind: row[kind] for kind in ("polarity", "side", "lobe") if row[kind]}
    items = []
    for kind, answer in known.items():
        wording = int(rng.integers(len(QUESTIONS[kind][0])))
        items.append(dict(question_kind=kind, wording=wording, question=QUESTIONS[kind][0][wording], answer=answer))
    return items


def positions(plane, part):
    """The positions of a plane's slices, mm, that a part ("train" or "held-out") may use."""
    low, high = RANGES[plane]
    begin, end = (0, 10) if part == "train" else (12, 14)
    found = [at for at in range(low, high + 1) if begin <= at % BAND < end]
    return [at for at in found if plane != "sagittal" or abs(at) >= 4]  # the midline has little tissue of a lobe


def _plain(template, part, rng):
    """A slice, and in half of them a lesion.

    The slice is chosen for the lesion's lobe before it is known whether there is one, so that neither the lobes nor the
    slices tell anything about it.
    """
    spots = None
    while spots is None:
        plane, lobe, side = str(rng.choice(list(PLANES))), int(rng.integers(len(volumes.LOBES))) + 1, rng.integers(2)
        found = _of_lobe(template, plane, lobe, part)
        position = found[rng.integers(len(found))]
        spots = _places(template, plane, position).get((lobe, side))
    row = dict(plane=plane, position=position)
    if rng.random() < 0.5:
        return row
    across, down = (float(at) for at in spots[rng.integers(len(spots))] + rng.uniform(-0.5, 0.5, 2))
    polarity = ("bright", "dark")[rng.integers(2)]
    radius = float(rng.uniform(*RADII[part][rng.integers(2)]))
    row |= dict(lesion=True, polarity=polarity, level=float(rng.uniform(*LEVELS[polarity])), radius=radius)
    row |= dict(lesion_across=across, lesion_down=down, lesion_seed=int(rng.integers(2**31)))
    row |= dict(stretch=float(rng.uniform(1, 1.5)), turn=float(rng.uniform(0, 180)))
    if plane != "sagittal":
        row["side"] = "left" if across < 0 else "right"
    if _share(template, plane, position, across, down, radius, lobe) >= CLEAR:
        row["lobe"] = list(volumes.LOBES)[lobe - 1]
    return row


def _marked(template, part, rng):
    """A slice through a structure, and a place in it."""
    structure = str(rng.choice(list(volumes.STRUCTURES)))
    found = _through(template, structure, part)
    plane, position = found[rng.integers(len(found))]
    spots = _inside(template, plane, position, structure)
    across, down = (float(at) for at in spots[rng.integers(len(spots))])
    return dict(plane=plane, position=position, structure=structure, mark_across=across, mark_down=down)


@lru_cache(maxsize=2048)
def _places(template, plane, position):
    """Where a lesion may be: `{(lobe, side): mm [place, 2]}`, side 0 left and 1 right; sagittal slices have side 0 and
    1 as the same places.
    """
    volume = volumes.load(template)
    t1, origin = plane_of((volume.t1, volume.origin), plane, position)
    lobe, _ = plane_of((volume.lobe, volume.origin), plane, position)
    deep = distance_transform_edt(t1 > 0) >= INSIDE
    across = np.arange(t1.shape[0])[:, None] - origin[0] + np.zeros(t1.shape[1])
    found = {}
    for number in range(1, len(volumes.LOBES) + 1):
        for side in (0, 1):
            off = True if plane == "sagittal" else (across <= -OFF_MIDLINE) if side == 0 else (across >= OFF_MIDLINE)
            spots = np.argwhere((lobe == number) & deep & off) - origin
            if len(spots) >= 100:
                found[number, side] = spots.astype(np.int16)
    return found


@lru_cache
def _of_lobe(template, plane, lobe, part):
    """The slices of a part that hold enough of a lobe: positions, mm."""
    volume, normal = volumes.load(template), PLANES[plane][0][0]
    areas = (volume.lobe == lobe).sum(axis=tuple(axis for axis in range(3) if axis != normal))
    return [at for at in positions(plane, part) if areas[at + volume.origin[normal]] >= 10 * LARGE]


@lru_cache
def _through(template, structure, part):
    """The slices of a part in which a structure is large enough for a mark: a list of (plane, position)."""
    volume = volumes.load(template)
    everywhere = np.isin(volume.regions, volumes.structure_numbers(structure))
    found = []
    for plane, ((normal, *_), _) in PLANES.items():
        areas = everywhere.sum(axis=tuple(axis for axis in range(3) if axis != normal))
        found += [(plane, at) for at in positions(plane, part) if areas[at + volume.origin[normal]] >= LARGE]
    return found


@lru_cache(maxsize=2048)
def _inside(template, plane, position, structure):
    """Places in a structure in a slice that are farthest from its edge, mm `[place, 2]`."""
    volume = volumes.load(template)
    regions, origin = plane_of((volume.regions, volume.origin), plane, position)
    depth = distance_transform_edt(np.isin(regions, volumes.structure_numbers(structure)))
    return (np.argwhere(depth >= min(3, depth.max())) - origin).astype(np.int16)


def _share(template, plane, position, across, down, radius, lobe):
    """How much of a disc's tissue lies in a lobe: 0..1."""
    volume = volumes.load(template)
    lobes, origin = plane_of((volume.lobe, volume.origin), plane, position)
    x, y = np.ogrid[: lobes.shape[0], : lobes.shape[1]]
    disc = np.hypot(x - origin[0] - across, y - origin[1] - down) <= radius
    return (lobes[disc] == lobe).mean()
