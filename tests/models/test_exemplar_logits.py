"""Which positions of a feature map an exemplar's object has, and the contrast with the rest."""

from __future__ import annotations

import torch
from tiny_networks import network_config, tiny_network

from coseg.models.exemplar import Exemplar, contrasted, coverage, object_and_rest


def test_the_share_of_the_object_in_each_position() -> None:
    region = torch.zeros(6, 10, dtype=torch.uint8)
    region[:, :3] = 1
    region[:, 4:6] = 255
    inside, void = coverage(
        region[None], (6, 10), (2, 3), 4
    )  # of 8 x 12 pixels, the last two rows and columns are padding
    expected_void = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.75, 0.75]])
    torch.testing.assert_close(inside[0], torch.tensor([[0.75, 0.0, 0.0], [0.375, 0.0, 0.0]]))
    torch.testing.assert_close(void[0], expected_void)
    objects, rest = object_and_rest(inside, void)
    assert objects[0].tolist() == [[True, False, False], [False, False, False]]
    assert rest[0].tolist() == [[False, True, True], [False, False, False]]


def test_a_region_of_another_size_than_the_encoded_image() -> None:
    region = torch.zeros(120, 60, dtype=torch.uint8)
    region[60:] = 1
    inside, void = coverage(region[None], (32, 32), (4, 4), 8)
    assert inside[0].tolist() == [[0.0] * 4] * 2 + [[1.0] * 4] * 2
    assert not void.any()


def test_an_object_smaller_than_a_position_has_the_one_it_covers_most() -> None:
    region = torch.zeros(32, 32, dtype=torch.uint8)
    region[5:12, 4:10] = 1
    objects, rest = object_and_rest(*coverage(region[None], (32, 32), (4, 4), 8))
    assert objects[0].nonzero().tolist() == [[1, 0]]
    assert int(rest.sum()) == 13  # the two others that it covers a tenth of are neither


def test_the_contrast_is_a_softmax_of_three() -> None:
    generator = torch.Generator().manual_seed(0)
    of_object, of_rest = (torch.randn(2, 2, 5, 4, generator=generator) * 4 for _ in range(2))
    result = contrasted(of_object, of_rest).softmax(1)[:, 1]
    l, r = (maps[:, 1] - maps[:, 0] for maps in (of_object, of_rest))  # noqa: E741
    expected = torch.stack((l, r, torch.zeros_like(l))).softmax(0)[0]
    torch.testing.assert_close(result, expected)
    assert contrasted(of_object, None) is of_object


def test_an_exemplar_of_another_object_is_rest() -> None:
    network = tiny_network(network_config())
    region = torch.zeros(32, 32, dtype=torch.uint8)
    region[:, :16] = 1
    exemplar = Exemplar(network.encode(torch.rand(1, 3, 32, 32)), (32, 32), region)
    objects, _ = network.exemplar_positions(exemplar)
    none, rest = network.exemplar_positions(exemplar._replace(another=True))
    assert objects.any() and not none.any() and torch.equal(rest, objects)
