"""Where the data sets come from: what `coseg-data` lists and downloads."""

from __future__ import annotations

from typing import NamedTuple

from coseg.data.archive import Limits


class Archive(NamedTuple):
    """A file to download.

    Attributes:
        url: where it is.
        checksum: ``md5:…`` or ``sha256:…``; None where nobody published one: the first download's is recorded.
        page: where people find it, should the address have changed.
        limits: far above what it has: 2 GB at most, and 60,000 files.
    """

    url: str
    checksum: str | None
    page: str
    limits: Limits = Limits()

    @property
    def file(self) -> str:
        """The archive's file name."""
        return self.url.rsplit("/", 1)[1]


class Source(NamedTuple):
    """A data set.

    Attributes:
        what: it, in a line.
        archive: None for what can't be downloaded.
        variable: the environment variable that gives its folder; empty where there is no folder.
    """

    what: str
    archive: Archive | None
    variable: str


_BUNDLE = Archive(
    "https://people.csail.mit.edu/mrub/ObjectDiscovery/ObjectDiscovery-data.zip",
    None,
    "https://people.csail.mit.edu/mrub/ObjectDiscovery/",
)

SOURCES = {
    "shapes": Source("drawn from a seed, nothing to download: 16 classes", None, ""),
    "voc": Source(
        "PASCAL VOC 2012 segmentation: 20 classes, 1464 training and 1449 validation images",
        Archive(
            "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            "md5:6cd6e144f989b92b3379bac3b3de84fd",  # as torchvision has it
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        ),
        "COSEG_VOC_ROOT",
    ),
    "msrc": Source(
        "MSRC v2: 591 images in 20 groups; the 7 of the literature have 208",
        Archive(
            "https://download.microsoft.com/download/3/3/9/339D8A24-47D7-412F-A1E8-1A415BC48A15/"
            "msrc_objcategimagedatabase_v2.zip",
            "md5:8fcd292c7f1e69f91a2ef513746bd52c",
            "https://www.microsoft.com/en-us/research/project/image-understanding/",
        ),
        "COSEG_MSRC_ROOT",
    ),
    "icoseg": Source(
        "iCoseg: 643 images in 38 groups, of which the literature tests 8",
        Archive(
            "http://chenlab.ece.cornell.edu/projects/touch-coseg/CMU_Cornell_iCoseg_dataset.zip",
            None,
            "http://chenlab.ece.cornell.edu/projects/touch-coseg/",
        ),
        "COSEG_ICOSEG_ROOT",
    ),
    "internet": Source(
        "the Internet images of object discovery: Airplane100, Car100, Horse100; its bundle holds parts of MSRC and "
        "iCoseg too",
        _BUNDLE,
        "COSEG_INTERNET_ROOT",
    ),
    "folder": Source("images and masks of your own, in one or several classes", None, "COSEG_FOLDER_ROOT"),
}
"""The data sets by name, those of the group ``dataset`` of the configuration."""
