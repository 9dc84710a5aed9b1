"""Which files are meant, and what their results are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from coseg.inference.inputs import collect, distinct_names


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``album/`` in the working directory, with pictures, other files and a folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "album"
    for name in ("10.jpg", "2.JPG", "b.webp", "notes.txt", ".hidden.jpg", "deep/x.png", ".git/y.png", "empty/z.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(*words: str, recursive: bool = False, leave_out: str = "coseg-output") -> tuple[list[str], tuple[str, ...]]:
    inputs = collect(words, recursive, Path(leave_out))
    return [path.as_posix() for path in inputs.paths], inputs.problems


def test_a_folder_gives_its_pictures_as_people_count(album: Path) -> None:
    assert found("album") == (["album/2.JPG", "album/10.jpg", "album/b.webp"], ())


def test_recursive(album: Path) -> None:
    assert found("album", recursive=True)[0] == ["album/2.JPG", "album/10.jpg", "album/b.webp", "album/deep/x.png"]


def test_patterns(album: Path) -> None:
    assert found("album/*.[jw]*") == (["album/10.jpg", "album/b.webp"], ())
    assert found("album/**/*.png") == (["album/deep/x.png"], ())
    assert found("alb*")[0] == ["album/2.JPG", "album/10.jpg", "album/b.webp"]
    (album / "a[1].jpg").touch()
    assert found("album/a[1].jpg")[0] == ["album/a[1].jpg"]


def test_a_file_that_is_named_may_have_any_name(album: Path) -> None:
    assert found("album/notes.txt") == (["album/notes.txt"], ())


def test_what_is_not_there_is_told_and_the_rest_taken(album: Path) -> None:
    paths, problems = found("nowhere.jpg", "album/empty", "*.png", "album/10.jpg")
    assert paths == ["album/10.jpg"]
    assert [problem.split(":")[0] for problem in problems] == [
        "nowhere.jpg is missing",
        "album/empty is a folder without images; --recursive looks into the folders in it as well.",
        "*.png matches no file",
    ]


def test_a_file_that_is_given_twice_is_taken_once(album: Path) -> None:
    paths, problems = found("album/b.webp", "album", str(album / "b.webp"))
    assert paths == ["album/b.webp", "album/2.JPG", "album/10.jpg"]
    assert problems == ("album/b.webp is given 3 times: it is taken once.",)


def test_results_are_no_inputs(album: Path) -> None:
    (album / "out").mkdir()
    (album / "out" / "b_mask.png").touch()
    assert "album/out/b_mask.png" not in found("album", recursive=True, leave_out="album/out")[0]
    assert found("album/out", leave_out="album/out") == (
        [],
        ("album/out is left out: it is the folder of the results.",),
    )


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x.jpg", "y.jpg"], ["x", "y"]),
        (["x.jpg", "x.png"], ["x-jpg", "x-png"]),
        (["x.jpg", "X.JPEG"], ["x-jpg", "X-JPEG"]),
        (["a/x.jpg", "b/x.jpg"], ["a-x", "b-x"]),
        (["p/a/x.jpg", "q/a/x.jpg"], ["p-a-x", "q-a-x"]),
        (["a/x.jpg", "b/x.jpg", "b/x.png"], ["a-x-jpg", "b-x-jpg", "b-x-png"]),
        (["a/x.jpg", "b/x.jpg", "a-x.jpg"], ["a-x", "b-x", "a-x-2"]),
    ],
)
def test_names_of_results(paths: list[str], names: list[str]) -> None:
    assert list(distinct_names([Path(path) for path in paths])) == names


def test_another_name_is_told(album: Path) -> None:
    inputs = collect(["album/b.webp", "album/deep/x.png"])
    assert inputs.names == ("b", "x")
    (album / "x.png").touch()
    inputs = collect(["album/x.png", "album/deep/x.png"])
    assert inputs.names == ("album-x", "deep-x")
    assert inputs.problems[1] == "album/deep/x.png has the name of another image: its results are called deep-x."
