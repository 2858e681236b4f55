"""PIRL's pretext transforms: rotations and jigsaw patches only move pixels."""

import pytest
import torch

from ssl_ext.models.utils.pretext import draw_patches, patch_size, rotate, shuffle_and_join


def coordinates(n, height, width):
    """Images whose channels are the sample, the row and the column of each pixel."""
    grid = torch.meshgrid(torch.arange(n), torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack(grid, 1)


def test_each_image_is_rotated_by_its_own_turns():
    images, turns = torch.randn(6, 3, 5, 5), torch.tensor([0, 1, 2, 3, 1, 0])
    expected = torch.stack([image.rot90(int(k), (1, 2)) for image, k in zip(images, turns, strict=True)])
    for layout in (torch.contiguous_format, torch.channels_last):
        assert torch.equal(rotate(images.contiguous(memory_format=layout), turns), expected)


def test_four_times_the_same_rotation_is_the_identity():
    images, turns = torch.randn(4, 3, 6, 6), torch.arange(4)
    rotated = images
    for _ in range(4):
        rotated = rotate(rotated, turns)
    assert torch.equal(rotated, images)


def test_images_that_are_not_square_cannot_be_rotated():
    with pytest.raises(ValueError, match="5 x 6 px.*model.pretext='rotation' needs square views"):
        rotate(torch.zeros(2, 3, 5, 6), torch.zeros(2).long())


@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 28), (8, 8), (96, 64), (3, 4)])
def test_patches_are_windows_inside_their_cells(height, width):
    torch.manual_seed(0)
    n = 50
    patches = draw_patches(coordinates(n, height, width))
    (cell_h, h), (cell_w, w) = patch_size(height), patch_size(width)
    assert patches.shape == (9 * n, 3, h, w)
    samples, rows, columns = patches.unflatten(0, (n, 3, 3)).unbind(3)
    assert (samples == torch.arange(n).view(n, 1, 1, 1, 1)).all()
    for axis, found, side, cell, patch in ((3, rows, height, cell_h, h), (4, columns, width, cell_w, w)):
        first = found.amin((3, 4))
        steps = torch.arange(patch).view([-1, 1] if axis == 3 else [-1])
        assert torch.equal(found, (first[..., None, None] + steps).expand_as(found))
        index = torch.arange(3).view([3, 1] if axis == 3 else [3])
        shift = first - (side - 3 * cell) // 2 - cell * index
        # All nine patches use every position in their cell.
        allowed = torch.arange(cell - patch + 1)
        assert all(torch.equal(shift[:, i, j].unique(), allowed) for i in range(3) for j in range(3))


def test_patches_of_one_image_move_independently():
    torch.manual_seed(0)
    first = draw_patches(coordinates(200, 40, 40))[:, 1:].amin((2, 3)).unflatten(0, (200, 9)).double()
    correlation = torch.corrcoef(first.flatten(1).T)
    assert correlation.fill_diagonal_(0).abs().max() < 0.35


def test_images_without_a_grid_are_refused():
    with pytest.raises(ValueError, match="2 x 8 px have no 3 x 3 grid"):
        draw_patches(torch.zeros(1, 3, 2, 8))


def test_features_are_joined_in_each_images_order():
    features = torch.randn(2 * 9, 4)
    identity = torch.arange(9).expand(2, 9)
    assert torch.equal(shuffle_and_join(features, identity), features.view(2, 36))
    order = torch.stack([torch.randperm(9), torch.randperm(9)])
    expected = [torch.cat([features[9 * i + p] for p in order[i]]) for i in range(2)]
    assert torch.equal(shuffle_and_join(features, order), torch.stack(expected))
    undone = shuffle_and_join(shuffle_and_join(features, order).view(18, 4), order.argsort(1))
    assert torch.equal(undone, features.view(2, 36))
