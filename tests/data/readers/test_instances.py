"""The table of a file of COCO's instances; what is refused in it is in `test_coco`."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from layouts.annotated import write_instances

from coseg.data.readers.instances import read_instances
from coseg.errors import CosegError


def refused(error: CosegError) -> None:
    raise error


def written(path: Path, count: int) -> Path:
    """A file with `count` annotations of 200 points, in images of 10 each."""
    images = [{"id": k, "file_name": f"{k:012d}.jpg", "height": 480, "width": 640} for k in range(count // 10)]
    outline = [float(k % 300) for k in range(400)]
    annotations = [
        {"id": k, "image_id": k // 10, "category_id": 1, "segmentation": [outline], "area": 9.5, "iscrowd": k % 2}
        for k in range(count)
    ]
    return write_instances(path, images, annotations, [{"id": 1, "name": "cat"}])


def test_numbers_and_places(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", 20)
    table = read_instances(path, refused)
    assert list(table.ids) == list(range(20)) and list(table.image_ids) == [k // 10 for k in range(20)]
    assert list(table.crowds) == [0, 1] * 10 and set(table.areas) == {9.5} and set(table.category_ids) == {1}
    assert [picture.height for picture in table.pictures.values()] == [480, 480] and table.categories == {1: "cat"}
    data = path.read_bytes()
    assert [json.loads(data[a:b])["id"] for a, b in zip(table.starts, table.ends, strict=True)] == list(range(20))


def test_an_area_that_is_not_given_is_that_of_the_region(tmp_path: Path) -> None:
    segmentations = [[[0, 0, 4, 0, 4, 3, 0, 3]], {"size": [5, 5], "counts": [3, 7, 15]}]
    entries = [{"id": k, "image_id": 0, "category_id": 1, "segmentation": s} for k, s in enumerate(segmentations)]
    path = write_instances(tmp_path / "a.json", [], [*entries, entries[0] | {"area": 0}], [])
    assert list(read_instances(path, refused).areas) == [12, 7, 12]


def test_little_is_kept_beside_the_text(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", 2000)
    size = path.stat().st_size
    tracemalloc.start()
    table = read_instances(path, refused)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table.ids) == 2000
    assert kept < 0.15 * size and most < 2.5 * size  # parsed as a whole, it is ten times its size
    assert size > 4_000_000


@pytest.mark.parametrize("half", ["\ud800", "\udcc3\udca9"])
def test_half_a_character_in_a_name_is_refused(tmp_path: Path, half: str) -> None:
    image = {"id": 1, "file_name": f"{half}a.jpg", "height": 3, "width": 3}
    for images, categories in (([image], []), ([], [{"id": 1, "name": f"x{half}"}])):
        path = write_instances(tmp_path / "a.json", images, [], categories)
        with pytest.raises(CosegError, match=r"a\.json") as error:
            read_instances(path, refused)
        assert str(error.value).encode("utf-8")
    path = write_instances(tmp_path / "a.json", [], [{"id": half}], [])
    with pytest.raises(CosegError, match=r"a\.json") as error:
        read_instances(path, refused)
    assert str(error.value).encode("utf-8")


def test_only_a_broken_annotation_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", 10)
    document = json.loads(path.read_text())
    document["annotations"][3]["segmentation"] = [[1, 2]]
    path.write_text(json.dumps(document))
    wrong: list[CosegError] = []
    table = read_instances(path, wrong.append)
    assert len(table.ids) == len(table.starts) == len(table.ends) == 9 and 3 not in table.ids
    assert len(wrong) == 1 and "annotation 3" in str(wrong[0])
    with pytest.raises(CosegError, match="annotation 3"):
        read_instances(path, refused)
