from __future__ import annotations

from pathlib import Path

import pytest

import coseg.reports
from coseg.errors import CosegError
from coseg.metrics import SCORES
from coseg.reports.collect import published_scores, read_published

TEXT = (Path(coseg.reports.__file__).parent / "published.yaml").read_text()


def test_the_printed_scores_are_those_of_the_papers() -> None:
    published = published_scores()
    table = {
        "li2018": (None, 82.9, 84.2),
        "chen2018": (59.8, 77.7, 86.0),
        "banerjee2019": (None, 85, None),
        "chen2021": (None, 85.9, 86.8),
        "cross_correlation": (73.6, 86.7, 89.9),
    }
    assert {key: tuple(method.scores.values()) for key, method in published.methods.items()} == table
    for method in published.methods.values():
        assert list(method.scores) == list(published.tests)
        if method.icoseg:
            *groups, mean = method.icoseg.values()
            assert len(groups) == 8
            assert sum(groups) / 8 == pytest.approx(mean, abs=0.06)  # as printed, to a decimal
            assert method.scores["icoseg"] == mean
    assert {protocol.score for protocol in published.protocols.values()} <= set(SCORES)


def test_only_a_protocol_that_is_known_to_differ_has_columns_of_its_own() -> None:
    published = published_scores()
    columns = {key: published.column(method) for key, method in published.methods.items()}
    assert {key for key, column in columns.items() if column != "paper"} == {"chen2018"}
    assert published.origin(published.methods["li2018"]).endswith("2018; protocol not stated")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("59.8", "0.598", r"methods\.chen2018: a score is not a percentage"),
        ("59.8", "'59.8'", r"methods\.chen2018: a score is not a percentage"),
        ("protocol: chen2018", "protocol: chen", r"methods\.chen2018: its protocol 'chen' is not one of paper"),
        ("scores: {voc: null, msrc: 85,", "scores: {msrc: 85,", r"methods\.banerjee2019: its scores must be of voc"),
        ("cheetah: 87.7, ", "", r"methods\.cross_correlation: its iCoseg groups"),
        ("images: 725", "size: 725", r"tests\.voc: it needs exactly dataset, images"),
        ("icoseg: null\n", "icoseg: 3\n", r"methods\.banerjee2019: its iCoseg scores must be by group"),
        ("protocols:", "protocol:", "it needs tests, protocols and methods"),
        ("methods:", "methods: [", "is damaged"),
        ("cosod:\n", "cosod: 1\nmore:\n", "it needs tests, protocols and methods"),
        ("0.774", "77.4", r"cosod\.methods\.vcp2025: it needs three scores"),
        ("[0.680, 0.774, 0.069]", "[0.680, 0.774]", r"cosod\.methods\.vcp2025: it needs three scores"),
        ('"2024"\n      scores: {coca:', '"2024"\n      scores: {cocoa:', r"cosod\.methods\.conda2024: .*coca"),
    ],
)
def test_a_spoilt_file_is_told_where(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert old in TEXT
    path = tmp_path / "published.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(CosegError, match=rf"published\.yaml.*{words}"):
        read_published(path)


def test_the_scores_of_grey_maps_are_those_of_the_papers() -> None:
    cosod = published_scores().cosod
    assert {key: (test.dataset, test.images) for key, test in cosod.tests.items()} == {
        "coca": ("coca", 1295), "cosal2015": ("cosal2015", 2015), "cosod3k": ("cosod3k", 3316),
    }  # fmt: skip
    assert {key: list(method.scores.values()) for key, method in cosod.methods.items()} == {
        "vcp2025": [[0.680, 0.774, 0.069], [0.920, 0.911, 0.037], [0.868, 0.874, 0.049]],
        "conda2024": [[0.685, 0.763, 0.089], [0.908, 0.900, 0.045], [0.853, 0.862, 0.056]],
        "gconet_plus2023": [[0.637, 0.738, 0.081], [0.891, 0.881, 0.056], [0.834, 0.843, 0.062]],
        "amir_dino": [[0.422, 0.592, 0.223], [0.777, 0.809, 0.092], [0.722, 0.773, 0.104]],
    }
