"""Archives of the data sets as they are published, each given for each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from facts import mentions

from coseg.data.archive import Limits
from coseg.data.download import download
from coseg.data.sources import ARCHIVES, CHECKSUMS, LAYOUTS, Archive, wrong_archive
from coseg.data.unpack import list_members
from coseg.errors import CosegError

PUBLISHED = {
    "voc": ("VOCdevkit/VOC2012/", "ImageSets/Segmentation/train.txt", "JPEGImages/a.jpg", "SegmentationClass/a.png"),
    "msrc": ("MSRC_ObjCategImageDatabase_v2/", "Images/1_1_s.bmp", "GroundTruth/1_1_s_GT.bmp"),
    "icoseg": ("CMU_Cornell_iCoseg_dataset/dataset_public/", "images/bear/a.jpg", "ground_truth/bear/a.png"),
    "internet": ("ObjectDiscovery-data/Data/", "Airplane100/0001.jpg", "Airplane100/GroundTruth/0001.png"),
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, (root, *files) in PUBLISHED.items():
        folder = tmp_path_factory.mktemp(name)
        for file in files:
            path = folder / root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        made[name] = Path(shutil.make_archive(str(folder / name), "gztar", folder, root.split("/")[0]))
    return made


def source(name: str) -> Archive:
    return Archive("http://127.0.0.1:9/pictures.zip", None, f"page of {name}")


@pytest.mark.parametrize("given", PUBLISHED)
@pytest.mark.parametrize("name", PUBLISHED)
def test_only_the_archive_of_the_data_set_is_taken(
    name: str, given: str, archives: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    if name == given:
        download(source(name), folder, archives[given], name)
        assert (folder / PUBLISHED[name][0]).is_dir()
        return
    top = PUBLISHED[given][0].split("/")[0]
    with pytest.raises(CosegError) as told:
        download(source(name), folder, archives[given], name)
    assert mentions(told.value, f"archive of {name}", f"{top}/", "expected", f"coseg-data download {given}")
    assert not list(tmp_path.iterdir()), "neither files nor a checksum"
    assert not (tmp_path / CHECKSUMS).exists()


def test_each_data_set_that_has_an_archive_has_a_layout() -> None:
    assert set(LAYOUTS) == set(ARCHIVES)


def test_the_bundle_is_taken_for_its_parts(tmp_path: Path) -> None:
    for file in ("Airplane100", "sub_MSRC/cow", "iCoseg/bear2"):
        path = tmp_path / "Data" / file / "GroundTruth" / "1.png"
        path.parent.mkdir(parents=True)
        path.write_text("")
    bundle = list_members(Path(shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path, "Data")), Limits())
    assert [wrong_archive(name, bundle) for name in ("msrc", "icoseg", "internet")] == [None] * 3
    assert mentions(wrong_archive("voc", []), "no files")
