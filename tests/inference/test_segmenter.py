"""Photographs in, masks out: the network's own answers, whatever the images come as."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny_networks import batch, network_config, picture, tiny_network
from torch import Tensor

from coseg import CoSegmenter
from coseg.errors import CosegError
from coseg.hub.calibration import GROUP_STATISTICS, Calibration
from coseg.hub.settings import settings_of
from coseg.inference import segmenter
from coseg.inference.cooccurrence.statistics import SIMILARITIES, statistics_names

CHANNELS = 64  # of the features of tiny networks
HALF = 2.0**-12  # what rounding to half precision changes at most in a probability
CONFIGS = {
    "cross correlation": network_config(kernel_sizes=[1, 3], rescale=True),
    "any size": network_config(input_size=None),
    "levels": network_config("channel_spatial_attention.ChannelSpatialAttentionNetwork", input_size=None),
    "pairs alone": network_config("mutual_correlation.MutualCorrelationNetwork", width=0.05),
    "deciding": network_config("conditional_siamese.ConditionalSiameseNetwork", metric_channels=8),
}


def made(name: str = "cross correlation", **options: Any) -> CoSegmenter:
    network = tiny_network(CONFIGS[name])
    settings = settings_of(CONFIGS[name], network) | options.pop("settings", {})
    return CoSegmenter(network, settings, "cpu", **options)


def probability(logits: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = logits.detach().softmax(1)[0, 1].numpy()
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_a_pair_is_what_the_network_says(name: str) -> None:
    model = made(name)
    a, b = picture(40, 50), picture(31, 66, 1)
    found = model.pair(a, b)
    for segment, logits, pixels in zip(found, model.network(batch(a), batch(b)), (a, b), strict=True):
        assert segment.size == segment.probability.shape == pixels.shape[:2]
        np.testing.assert_allclose(segment.probability, probability(logits), atol=HALF + 1e-5)
        assert segment.probability.std() > 0
    assert [segment.name for segment in found] == ["image 1", "image 2"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_group_is_what_the_network_says(name: str) -> None:
    model = made(name)
    pictures = [picture(40, 50), picture(31, 66, 1), picture(48, 48, 2), picture(20, 30, 3)]
    steps: list[tuple[int, int]] = []
    found = model.group(iter(pictures), lambda done, total: steps.append((done, total)))
    features = [model.network.encode(batch(each)) for each in pictures]
    expected = model.network.cosegment_group(features, [each.shape[:2] for each in pictures])
    for segment, logits in zip(found, expected, strict=True):
        np.testing.assert_allclose(segment.probability, probability(logits), atol=HALF + 1e-5)
    assert steps == [(k, 8) for k in range(1, 9)]
    again = model.cosegment([model.encode(each) for each in pictures])
    assert all((a.probability == b.probability).all() for a, b in zip(found, again, strict=True))


def test_a_group_whose_features_wait_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(40, 50), picture(31, 66, 1), picture(48, 48, 2)]
    expected = made().group(pictures)
    monkeypatch.setattr("coseg.inference.encoded_images.HeldFeatures.__init__.__defaults__", (0,))
    found = made().group(pictures)
    assert any((a.probability != b.probability).any() for a, b in zip(found, expected, strict=True))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.probability, b.probability, atol=0.01)


def test_whatever_the_images_come_as(tmp_path: Path) -> None:
    model = made()
    a, b = picture(40, 50), picture(31, 66, 1)
    Image.fromarray(a).save(tmp_path / "a.png")
    Image.fromarray(b).save(tmp_path / "b.png")
    expected = model.pair(a, b)
    forms = (
        (tmp_path / "a.png", str(tmp_path / "b.png")),
        (Image.fromarray(a), Image.fromarray(b)),
        (batch(a)[0], batch(b)[0].float() / 255),
        (a.astype(np.float32) / 255, b),
    )
    for form in forms:
        for found, same in zip(model.pair(*form), expected, strict=True):
            assert (found.probability == same.probability).all()
    assert [each.name for each in model.pair(*forms[0])] == ["a.png", "b.png"]


def test_large_photographs_are_segmented_at_their_own_size(tmp_path: Path) -> None:
    Image.fromarray(picture(900, 1300)).save(tmp_path / "large.jpg")
    found = made().pair(tmp_path / "large.jpg", picture(40, 50))
    assert found[0].size == (900, 1300) and found[0].mask().shape == (900, 1300)
    assert max(found[0].probability.shape) == segmenter.WORKING
    found = made("any size", size=64).pair(tmp_path / "large.jpg", picture(40, 50))
    assert found[0].mask().shape == (900, 1300) and found[0].probability.shape == (44, 64)


def test_size_and_threshold_come_from_the_settings_unless_given() -> None:
    model = made(settings={"size": 48, "threshold": 0.3})
    assert (model.size, model.network.input_size, model.threshold) == (48, 48, 0.3)
    model = made(settings={"size": 48, "threshold": 0.3}, size=40, threshold=0.6, keep_islands=True)
    assert (model.size, model.network.input_size, model.threshold) == (40, 40, 0.6)
    a, b = picture(40, 50), picture(31, 66, 1)
    found = model.pair(a, b)
    np.testing.assert_allclose(
        found[0].probability, probability(model.network(batch(a), batch(b))[0]), atol=HALF + 1e-5
    )
    assert found[0].foreground == (found[0].probability > np.float16(0.6)).mean()
    for wrong in ({"size": 0}, {"size": 1.5}, {"threshold": 1.5}, {"threshold": True}):
        ((key, value),) = wrong.items()
        with pytest.raises(CosegError, match=f"{key}.*{value}"):
            made(**wrong)


def test_the_same_images_give_the_same_result() -> None:
    pictures = [picture(40, 50), picture(31, 66, 1), picture(48, 48, 2)]
    first, second = (made().group(pictures) for _ in range(2))
    assert all((a.probability == b.probability).all() for a, b in zip(first, second, strict=True))


def test_one_picture_alone_is_refused_and_one_twice_is_told() -> None:
    model, a, b = made(), picture(40, 50), picture(50, 40)
    for few in ([], [a]):
        with pytest.raises(CosegError, match=r"\btwo\b"):
            model.group(few)
    with pytest.raises(CosegError, match=r"\btwo\b"):
        model.cosegment([model.encode(a)])
    assert model.pair(a, a.reshape(b.shape)).repeated == ()
    assert model.pair(a, a.copy()).repeated == ((0, 1),)
    assert model.group([a, b, a, a]).repeated == ((0, 2), (0, 3))


def test_devices_that_are_not_there() -> None:
    network = tiny_network(CONFIGS["cross correlation"])
    settings = settings_of(CONFIGS["cross correlation"], network)
    assert CoSegmenter(network, settings, "auto").device.type in ("cpu", "cuda", "mps")
    absent = f"cuda:{torch.cuda.device_count()}"
    for name in ("toaster", absent, "meta"):
        with pytest.raises(CosegError, match=f"device.*'{name}'"):
            CoSegmenter(network, settings, name)


@pytest.mark.parametrize("name", ["cross correlation", "levels"])
def test_the_response_to_a_point(name: str) -> None:
    model = made(name)
    a, b = model.encode(picture(48, 64)), model.encode(picture(31, 66, 1))
    map_a, map_b = (model.network.feature_map(each.features)[0] for each in (a, b))
    found = model.response(a, b, 0.9, 0.3)
    assert found.shape == map_b.shape[1:] and found.dtype == np.float32
    vector = map_a[:, int(0.9 * map_a.shape[1]), int(0.3 * map_a.shape[2])]
    expected = torch.einsum("c,chw->hw", vector, map_b) / (vector.norm() * map_b.norm(dim=0))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    own = model.response(a, a, 1.0, 1.0)
    assert own[-1, -1] == pytest.approx(1, abs=1e-5)
    with pytest.raises(CosegError, match="outside"):
        model.response(a, b, 1.1, 0.5)


def calibration(**weights: float) -> dict[str, Any]:
    names = statistics_names(tiny_network(CONFIGS["cross correlation"]), len(SIMILARITIES) + 2 * CHANNELS)
    values = tuple(weights.get(name, 0.0) for name in names)
    n = len(names)
    return Calibration(names, (0.0,) * n, (1.0,) * n, values, 0.0).to_dict()


def test_cooccurrence_needs_a_calibration() -> None:
    a, b = picture(40, 50), picture(31, 66, 1)
    found = made().pair(a, b)
    assert math.isnan(found.common) and found.shares is None
    model = made(settings={"cooccurrence": calibration(foreground_low=3.0)})
    found = model.pair(a, b)
    foreground = min(float(each.probability.astype(np.float64).mean()) for each in found)
    assert found.common == pytest.approx(1 / (1 + math.exp(-3 * foreground)), abs=1e-4)
    assert found.shares is True
    assert model.pair(b, a).common == pytest.approx(found.common, abs=1e-5)


def test_cooccurrence_of_a_group_is_the_mean_over_neighbours() -> None:
    model = made(settings={"cooccurrence": calibration(foreground_low=3.0)})
    found = model.group([picture(40, 50, seed) for seed in range(5)])
    foreground = [float(each.probability.astype(np.float64).mean()) for each in found]
    pairs = [(i, j) for i in range(5) for j in range(i)]  # of five images all are neighbours
    expected = np.mean([1 / (1 + math.exp(-3 * min(foreground[i], foreground[j]))) for i, j in pairs])
    assert found.common == pytest.approx(expected, abs=1e-4)


def test_cooccurrence_of_a_group_by_the_calibration_of_groups() -> None:
    group = Calibration(GROUP_STATISTICS, (0.0, 0.0), (1.0, 1.0), (4.0, 0.0), -1.0).to_dict()
    model = made(settings={"cooccurrence": calibration(foreground_low=3.0) | {"group": group}})
    images = [picture(40, 50, seed) for seed in range(3)]
    found = model.group(images)
    foreground = sorted(float(each.probability.astype(np.float64).mean()) for each in found)
    mean = (2 * 3 * foreground[0] + 3 * foreground[1]) / 3  # the smallest is the lower in two of three pairs
    assert found.common == pytest.approx(1 / (1 + math.exp(1 - 4 * mean)), abs=1e-4)
    model = made(settings={"cooccurrence": calibration(foreground_low=3.0)})
    assert len(model.group(images[:2])) == 2  # a pair knows no groups
    with pytest.raises(CosegError, match=r"calibration.*groups"):
        made(settings={"cooccurrence": calibration() | {"group": calibration()}})


def test_a_network_that_decides_is_asked() -> None:
    model = made("deciding")
    a, b = picture(40, 50), picture(31, 66, 1)
    features = [model.network.encode(batch(each)) for each in (a, b)]
    expected = model.network.classify(*features).detach().sigmoid().item()  # type: ignore[operator]
    assert model.pair(a, b).common == pytest.approx(expected, abs=1e-5)


def test_a_calibration_of_other_statistics_is_refused() -> None:
    other = Calibration(("decision",), (0.0,), (1.0,), (1.0,), 0.0)
    with pytest.raises(CosegError, match="statistics"):
        made(settings={"cooccurrence": other.to_dict()})
    with pytest.raises(CosegError, match="statistics"):
        made("deciding", settings={"cooccurrence": replace(other, names=("logit",)).to_dict()})
    narrow = Calibration(SIMILARITIES, (0.0,) * 7, (1.0,) * 7, (1.0,) * 7, 0.0)
    with pytest.raises(CosegError, match=r"\b7\b.*\b135\b"):
        made(settings={"cooccurrence": narrow.to_dict()}).pair(picture(20, 20), picture(20, 20, 1))


def test_saving_keeps_what_was_chosen(tmp_path: Path) -> None:
    model = made(size=40, threshold=0.7, settings={"cooccurrence": calibration(foreground_low=1.0)})
    assert model.save_pretrained(tmp_path) is None
    assert "not measured" in (tmp_path / "README.md").read_text()
    again = CoSegmenter.from_pretrained(tmp_path, device="cpu")
    assert (again.size, again.threshold, again.calibration) == (40, 0.7, model.calibration)
    a, b = picture(40, 50), picture(31, 66, 1)
    for found, expected in zip(again.pair(a, b), model.pair(a, b), strict=True):
        np.testing.assert_allclose(found.probability, expected.probability, atol=0.01)
    assert CoSegmenter.from_pretrained(tmp_path, size=40, threshold=0.2).threshold == 0.2


def test_pushing_to_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import HfApi, RepoUrl

    sent: dict[str, Any] = {}

    def upload(self: HfApi, *, repo_id: str, folder_path: Path, **options: Any) -> str:
        sent.update(options, repo_id=repo_id, files=sorted(path.name for path in Path(folder_path).iterdir()))
        sent["threshold"] = json.loads((Path(folder_path) / "config.json").read_text())["threshold"]
        return "https://hub/ada/birds/commit/1"

    def create(self: HfApi, repo_id: str, **options: Any) -> RepoUrl:
        sent["private"] = options["private"]
        return RepoUrl(f"https://huggingface.co/{repo_id}")

    monkeypatch.setattr(HfApi, "create_repo", create)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    model = made(threshold=0.7)
    assert model.push_to_hub("ada/birds", private=True) == "https://hub/ada/birds/commit/1"
    assert sent["files"] == ["README.md", "config.json", "model.safetensors"]
    assert (sent["repo_id"], sent["private"], sent["threshold"]) == ("ada/birds", True, 0.7)
    assert model.save_pretrained(tmp_path / "ada", repo_id="ada/cats", push_to_hub=True) is not None
    assert sent["repo_id"] == "ada/cats" and (tmp_path / "ada" / "config.json").is_file()

    def refused(self: HfApi, repo_id: str, **options: Any) -> RepoUrl:
        raise ConnectionError("refused")

    monkeypatch.setattr(HfApi, "create_repo", refused)
    with pytest.raises(CosegError, match=r"upload.*ada/birds"):
        model.push_to_hub("ada/birds")


def test_importing_coseg_imports_no_torch() -> None:
    code = (
        "import sys, coseg; assert 'CoSegmenter' in dir(coseg); heavy = {'torch', 'lightning', 'huggingface_hub'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "assert not hasattr(coseg, 'CoSegmentor')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# what is no image, and no number


@pytest.mark.parametrize("images", ["a.jpg", b"a.jpg", Path("a.jpg"), None, 7, picture(30, 40), torch.zeros(3, 30, 40)])
def test_one_image_is_no_group(images: object) -> None:
    with pytest.raises(CosegError, match=r"list.*two"):
        made().group(images)


def test_what_was_not_encoded_is_refused() -> None:
    model = made()
    encoded = model.encode(picture(40, 40))
    with pytest.raises(CosegError, match=r"\b2\b.*\bstr\b"):
        model.cosegment([encoded, "a.jpg"])
    with pytest.raises(CosegError, match="outside"):
        model.response(encoded, encoded, float("nan"), 0)
    with pytest.raises(CosegError, match="outside"):
        model.response(encoded, encoded, "a", 0)


def test_no_network_is_refused() -> None:
    with pytest.raises(CosegError, match="CosegNetwork"):
        CoSegmenter(torch.nn.Linear(1, 1), {})


def test_weights_that_are_not_finite_are_refused() -> None:
    model = made()
    with torch.no_grad():
        next(model.network.decoder.parameters()).fill_(float("nan"))
    images = [picture(40, 40, seed) for seed in range(3)]
    for call in (lambda: model.pair(*images[:2]), lambda: model.group(images)):
        with pytest.raises(CosegError, match="not finite"):
            call()


def test_a_dark_photograph_has_a_note() -> None:
    result = made().pair(np.zeros((40, 40, 3), np.uint8), picture(40, 40))
    assert "black" in str(result[0].note) and result[1].note is None


def test_a_size_that_is_not_the_models_is_reported() -> None:
    note = made(size=64).size_note
    own = made().size
    assert own is not None and own != 64
    assert note is not None and "64" in note and str(own) in note
    assert made().size_note is None and made(size=own).size_note is None
    assert made("any size", size=64).size_note is None  # it was made for none


def test_from_pretrained_warns_of_the_size(tmp_path: Path) -> None:
    from coseg.hub.share import save_pretrained

    save_pretrained(tmp_path, CONFIGS["cross correlation"], tiny_network(CONFIGS["cross correlation"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = CoSegmenter.from_pretrained(tmp_path, device="cpu").size
    with pytest.warns(UserWarning, match=rf"64.*{own}"):
        CoSegmenter.from_pretrained(tmp_path, device="cpu", size=64)


def test_islands_are_removed_alike_from_pairs_and_groups_unless_they_are_kept() -> None:
    images = [picture(40, 50), picture(31, 66, 1), picture(44, 44, 2)]
    for keep in (False, True):
        model = made(keep_islands=keep)
        segments = [*model.pair(*images[:2]), *model.group(images)]
        assert {segment.keep_islands for segment in segments} == {keep}
        assert model.model_scores("x")["islands"] == ("kept" if keep else "removed")


def test_a_pair_of_bytes_and_files_is_that_of_the_paths(tmp_path: Path) -> None:
    model, paths = made(), [tmp_path / "a.png", tmp_path / "b.png"]
    for k, path in enumerate(paths):
        Image.fromarray(picture(40, 50, k)).save(path)
    expected = model.pair(*paths)
    for sources in ([path.read_bytes() for path in paths], [io.BytesIO(path.read_bytes()) for path in paths]):
        result = model.pair(*sources)
        assert [segment.name for segment in result] == ["image 1", "image 2"]
        for segment, other in zip(result, expected, strict=True):
            assert (segment.probability == other.probability).all()
    assert len(model.group([path.read_bytes() for path in paths])) == 2
    with pytest.raises(CosegError, match=r"image 2.*not an image"):
        model.pair(paths[0].read_bytes(), b"no image")
