"""The command line of ``coseg-predict``."""

from __future__ import annotations

from pathlib import Path

import pytest

from coseg.cli.predict_options import check_together, exemplar_words, json_target, predict_parser
from coseg.errors import CosegError


@pytest.fixture(autouse=True)
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b=1.jpg", "a:b=c.jpg", "horse=a.jpg"):
        Path(name).touch()


def test_exemplars_of_one_object_have_no_name() -> None:
    assert exemplar_words([]) == {}
    assert exemplar_words(["a.jpg:m.png", "./b=1.jpg:3,4"]) == {
        "": [(Path("a.jpg"), Path("m.png")), (Path("b=1.jpg"), (3.0, 4.0))]
    }


@pytest.mark.parametrize(
    ("word", "name", "photograph", "place"),
    [
        ("horse=a.jpg:m.png", "horse", "a.jpg", Path("m.png")),
        ("my horse-2_x=a.jpg:1,2,3,4", "my horse-2_x", "a.jpg", (1.0, 2.0, 3.0, 4.0)),
        ("größe=b=1.jpg:n=m.png", "größe", "b=1.jpg", Path("n=m.png")),
        ("หมู=a.jpg:1,2", "หมู", "a.jpg", (1.0, 2.0)),
        ("o=a:b=c.jpg:1,2", "o", "a:b=c.jpg", (1.0, 2.0)),
        ("./horse=a.jpg:1,2", "", "horse=a.jpg", (1.0, 2.0)),
        ("o=./horse=a.jpg:1,2", "o", "horse=a.jpg", (1.0, 2.0)),
        ("a:b=c.jpg:1,2", "", "a:b=c.jpg", (1.0, 2.0)),
        ("a.jpg:n=m.png", "", "a.jpg", Path("n=m.png")),
    ],
)
def test_a_name_is_before_the_first_equals_sign(word: str, name: str, photograph: str, place: object) -> None:
    assert exemplar_words([word]) == {name: [(Path(photograph), place)]}


def test_several_objects_keep_their_order() -> None:
    objects = exemplar_words(["horse=a.jpg:1,2", "rider=a.jpg:3,4", "horse=b=1.jpg:5,6"])
    assert list(objects) == ["horse", "rider"] and len(objects["horse"]) == 2


def test_a_photograph_that_was_taken_for_a_name_is_explained() -> None:
    with pytest.raises(CosegError, match=r"\./b=1\.jpg:1,2"):
        exemplar_words(["b=1.jpg:1,2"])
    with pytest.raises(CosegError, match="none"):
        exemplar_words(["horse=a.jpg:1,2", "a.jpg:3,4"])


@pytest.mark.parametrize(
    "words",
    [
        ["--exemplar", "a.jpg:1,2", "--pairs"],
        ["--exemplar", "a.jpg:1,2", "--watch"],
        ["--clusters", "--pairs"],
        ["--everywhere"],
        ["--split-out", "s", "--pairs"],
        ["--split-out", "s", "--watch"],
        ["--split-out", "s", "-"],
    ],
)
def test_what_does_not_go_together(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = predict_parser()
    with pytest.raises(SystemExit) as leaving:
        check_together(parser, parser.parse_intermixed_args(["a.jpg", *words]))
    assert leaving.value.code == 2 and words[0] in capsys.readouterr().err


def test_json_before_an_image_prints() -> None:
    options = predict_parser().parse_intermixed_args(["--json", "a.jpg", "b.jpg"])
    assert json_target(options) is None and options.images == ["a.jpg", "b.jpg"] and options.json == "-"
    assert json_target(predict_parser().parse_intermixed_args(["a.jpg", "--json", "s.json"])) == Path("s.json")
