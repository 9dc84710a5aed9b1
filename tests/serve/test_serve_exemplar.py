"""Exemplars by the service, with a tiny network."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from facts import mentions
from fake_service import Service
from PIL import Image
from tiny_networks import model_of, network_config, picture, tiny_network

from coseg.hub.calibration import Calibration
from coseg.inference.cooccurrence.descriptors import ALIKE
from coseg.inference.segmenter import CoSegmenter

Serve = Callable[..., Service]
A, B = picture(40, 50), picture(31, 66, 1)
LEFT = np.tile(np.arange(50) < 25, (40, 1))


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def made(bias: float | None = None, **options: Any) -> CoSegmenter:
    network, settings, source = model_of(tiny_network(network_config()))
    if bias is not None:
        settings["cooccurrence"] = Calibration(ALIKE, (0.0, 0.0), (1.0, 1.0), (0.0, 0.0), bias).to_dict()
    return CoSegmenter(network, settings, "cpu", source=source, **options)


IMAGES = [("images", ("b.png", png(B))), ("images", ("a.png", png(A)))]
SHOWN = [("exemplar", ("a.png", png(A))), ("object", ("mask.png", png(LEFT)))]


def mask_of(text: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_one_object_by_a_mask(serve: Serve) -> None:
    model = made()
    service = serve(model)
    answer = service.post("/exemplar", [*SHOWN, *IMAGES])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    expected = model.exemplar([(A, LEFT)]).segment([B, A])
    for image, segment in zip(body["images"], expected, strict=True):
        assert np.array_equal(mask_of(image["mask"]) == 255, segment.mask())
    assert body["exemplars"] == 1 and body["common"] is None and body["threshold"] == 0.5
    assert [image["file"] for image in body["images"]] == ["b.png", "a.png"] and "exemplar" in body["sentence"]
    assert service.jobs.taken == 0


@pytest.mark.parametrize("place", ["3,4", "0, 0, 30, 40"])
def test_one_object_by_numbers(serve: Serve, place: str) -> None:
    model = made()
    answer = serve(model).post("/exemplar", [SHOWN[0], *IMAGES[:1]], data={"object": place})
    numbers = tuple(float(number) for number in place.split(","))
    expected = model.exemplar([(A, numbers)]).segment([B])
    assert np.array_equal(mask_of(answer.json()["images"][0]["mask"]) == 255, expected[0].mask())


def test_several_objects_by_name(serve: Serve) -> None:
    model = made(keep_islands=True)
    files = [SHOWN[0], SHOWN[0], SHOWN[0], SHOWN[1], ("object", ("right.png", png(~LEFT))), SHOWN[1], *IMAGES]
    names = {"name": ["left", "right side", "left"]}
    body = serve(model).post("/exemplar", files, data=names, params={"threshold": 0.4}).json()
    assert [(of_object["name"], of_object["label"], of_object["exemplars"]) for of_object in body["objects"]] == [
        ("left", 1, 2), ("right side", 2, 1),
    ]  # fmt: skip
    assert body["threshold"] == 0.4
    for image, size in zip(body["images"], ((31, 66), (40, 50)), strict=True):
        labels = mask_of(image["labels"])
        assert labels.shape == size and (image["height"], image["width"]) == size
        for n, name in enumerate(("left", "right side"), start=1):
            assert np.array_equal(mask_of(image["objects"][name]["mask"]) == 255, labels == n)
    answer = serve(model).post("/exemplar", files, data=names, params={"format": "zip"})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        result = json.loads(archive.read("result.json"))
        assert archive.namelist()[:3] == ["01_b_labels.png", "01_b_1_left_mask.png", "01_b_2_right_side_mask.png"]
        assert result["images"][0]["objects"]["left"]["mask"] == "01_b_1_left_mask.png"
        assert Image.open(io.BytesIO(archive.read("02_a_labels.png"))).mode == "P"


def test_an_image_without_the_object_has_an_empty_mask_unless_it_is_everywhere(serve: Serve) -> None:
    service = serve(made(-3.0))
    body = service.post("/exemplar", [*SHOWN, *IMAGES]).json()
    assert body["outside"] == [1, 2] and [image["foreground"] for image in body["images"]] == [0, 0]
    assert all(image["belongs"] == 0.2 for image in body["images"])
    everywhere = service.post("/exemplar", [*SHOWN, *IMAGES], params={"everywhere": True}).json()
    assert max(image["foreground"] for image in everywhere["images"]) > 0


@pytest.mark.parametrize(
    ("files", "data", "status", "words"),
    [
        (IMAGES, {}, 422, ["exemplar"]),
        (SHOWN, {}, 422, ["images"]),
        ([SHOWN[0], *IMAGES], {}, 422, ["1 in 'exemplar'", "0 in 'object'", "x,y"]),
        ([*SHOWN, *IMAGES], {"object": "1,2"}, 422, ["1 in 'exemplar'", "2 in 'object'"]),
        ([SHOWN[0], *IMAGES], {"object": "1,2,3"}, 422, ["1,2,3", "x,y"]),
        ([SHOWN[0], *IMAGES], {"object": "50,2"}, 422, ["outside"]),
        ([*SHOWN, *IMAGES], {"name": ["a", "b"]}, 422, ["name"]),
        ([*SHOWN, *IMAGES], {"name": "a/b"}, 422, ["a/b"]),
        ([*SHOWN, *IMAGES], {"images": "text"}, 422, ["images"]),
        ([*SHOWN, *IMAGES, ("other", ("x.png", b"x"))], {}, 422, ["other"]),
        ([*SHOWN, *IMAGES, *IMAGES], {}, 413, ["5", "4"]),
        ([SHOWN[0], ("object", ("m.png", png(LEFT[:9]))), *IMAGES], {}, 422, ["a.png", "50 x 9"]),
        ([SHOWN[0], ("object", ("m.png", png(LEFT & False))), *IMAGES], {}, 422, ["empty"]),
        ([SHOWN[0], ("object", ("m.png", b"no image")), *IMAGES], {}, 422, ["m.png"]),
        ([SHOWN[0], ("object", ("m.png", png(np.zeros((2000, 600), bool)))), *IMAGES], {}, 413, ["m.png"]),
        ([*SHOWN, ("images", ("x.png", b"no image"))], {}, 422, ["x.png"]),
    ],
)
def test_bad_input_is_a_sentence(serve: Serve, files: Any, data: Any, status: int, words: list[str]) -> None:
    service = serve(made(), images=4, megapixels=1.0)
    answer = service.post("/exemplar", files, data=data)
    assert answer.status_code == status, answer.text
    assert mentions(answer.json()["detail"], *words) and service.jobs.taken == 0


def test_fields_that_a_browser_sends_empty_are_left_out(serve: Serve) -> None:
    files = [*SHOWN, ("object", ("", b"")), *IMAGES]
    assert serve(made()).post("/exemplar", files, data={"object": "", "name": ""}).status_code == 200


def test_models_without_exemplars_refuse(serve: Serve) -> None:
    answer = serve().post("/exemplar", [*SHOWN, *IMAGES])  # as exported graphs
    assert answer.status_code == 422 and mentions(answer.json()["detail"], "graphs", "--checkpoint")
    network, settings, source = model_of(tiny_network(network_config("siamese.SiameseNetwork")))
    answer = serve(CoSegmenter(network, settings, "cpu", source=source)).post("/exemplar", [*SHOWN, *IMAGES])
    assert answer.status_code == 422 and mentions(answer.json()["detail"], "SiameseNetwork")


def test_the_description_and_the_page_have_the_form(serve: Serve) -> None:
    client = serve().client
    about = client.get("/openapi.json").json()["paths"]["/exemplar"]["post"]
    schema = about["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["required"] == ["images", "exemplar", "object"] and "name" in schema["properties"]
    assert {parameter["name"] for parameter in about["parameters"]} == {"format", "threshold", "everywhere"}
    assert mentions(client.get("/").text, 'name="object"', 'type="text"', "/exemplar", "-F exemplar=@exemplar.jpg")
