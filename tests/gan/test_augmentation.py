"""What every registered augmentation must do, and what each of them does to pictures that are easy to follow."""

import math

import pytest
import torch

from gensweep.gan.ada import Ada, colour_matrix, warp_matrix, warped
from gensweep.gan.augmentation import AUGMENTATIONS, STREAMS_PER_AUGMENTATION, cutout, jitter, translate
from gensweep.noise import Noise

every_kind = pytest.mark.parametrize("kind", AUGMENTATIONS.kinds())
SIZE = 16


def awake(kind):
    """An augmentation that does something, whatever it has to learn first."""
    made = AUGMENTATIONS[kind]()
    if kind == "ada":
        made.probability.fill_(0.7)
    return made


def pictures(n=12, channels=3, start=0):
    return Noise(9, torch.arange(start, start + n)).uniform(channels, SIZE, SIZE, stream=0) * 2 - 1


def noise(n=12, start=0):
    return Noise(5, torch.arange(start, start + n))


@every_kind
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_stay_and_gradients_reach_the_images(kind, channels):
    x = pictures(channels=channels).requires_grad_()
    shown = awake(kind)(x, noise(), STREAMS_PER_AUGMENTATION)
    assert shown.images.shape == x.shape
    assert (shown.time is not None) == AUGMENTATIONS[kind].timed
    shown.images.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert bool(x.grad.any())


@every_kind
def test_an_image_is_changed_the_same_way_in_whatever_batch_it_comes(kind):
    augment, x = awake(kind), pictures()
    whole = augment(x, noise(), STREAMS_PER_AUGMENTATION).images
    parts = torch.cat([augment(x[i : i + 4], noise(4, i), STREAMS_PER_AUGMENTATION).images for i in (0, 4, 8)])
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)


@every_kind
def test_streams_do_not_reach_beyond_their_number(kind):
    """So that real and fake images of a position are changed in different ways."""

    class Listener(Noise):
        def uniform(self, *shape, stream):
            assert STREAMS_PER_AUGMENTATION <= stream < 2 * STREAMS_PER_AUGMENTATION
            return super().uniform(*shape, stream=stream)

        def normal(self, *shape, stream):
            assert STREAMS_PER_AUGMENTATION <= stream < 2 * STREAMS_PER_AUGMENTATION
            return super().normal(*shape, stream=stream)

        def integers(self, high, *shape, stream):
            assert STREAMS_PER_AUGMENTATION <= stream < 2 * STREAMS_PER_AUGMENTATION
            return super().integers(high, *shape, stream=stream)

    augment, x = awake(kind), pictures()
    augment(x, Listener(5, torch.arange(12)), STREAMS_PER_AUGMENTATION)
    one, other = (
        augment(x, noise(), stream).images for stream in (STREAMS_PER_AUGMENTATION, 2 * STREAMS_PER_AUGMENTATION)
    )
    assert kind == "none" or not torch.equal(one, other)


def test_brightness_shifts_the_mean_and_saturation_greys():
    x = pictures(4)
    middle = torch.tensor([0.5, 0.5, 0.5]).expand(4, 3)
    torch.testing.assert_close(jitter(x, middle), x)
    brighter = jitter(x, torch.tensor([0.75, 0.1, 0.9]).expand(4, 3))
    torch.testing.assert_close(brighter.mean(dim=(1, 2, 3)), x.mean(dim=(1, 2, 3)) + 0.25)
    grey = jitter(x, torch.tensor([0.5, 0.0, 0.5]).expand(4, 3))
    torch.testing.assert_close(grey, x.mean(dim=1, keepdim=True).expand_as(x))


def test_moves_are_up_to_an_eighth_and_bring_in_black():
    x = torch.ones(1, 1, SIZE, SIZE)
    for u, rows, columns in (((0.0, 0.0), (2, 16), (2, 16)), ((0.999, 0.5), (0, 14), (0, 16))):
        moved = translate(x, torch.tensor([u]))
        expected = torch.zeros_like(x)
        expected[..., slice(*rows), slice(*columns)] = 1
        assert torch.equal(moved, expected), u


@pytest.mark.parametrize("size", [15, 16])
def test_holes_have_half_the_side_and_may_stand_out_over_the_edge(size):
    """Between a quarter, in a corner, and the whole of the hole is inside."""
    u = noise(4000).uniform(2, stream=0)
    gone = (cutout(torch.ones(4000, 1, size, size), u) == 0).sum(dim=(1, 2, 3))
    side = int(size * 0.5 + 0.5)
    assert int(gone.max()) == side**2
    assert int(gone.min()) >= (side // 2) ** 2
    assert torch.equal(cutout(pictures(4), torch.full((4, 2), 0.5))[:, :, 4:12, 4:12], torch.zeros(4, 3, 8, 8))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_each_transform_comes_as_often_as_the_probability_says(p):
    """A flip, as one of two, leaves half of its images as they are; quarter turns a quarter; of moves 1 in 25."""
    n = 20_000
    probability = torch.tensor(p)
    matrix = warp_matrix(noise(n), STREAMS_PER_AUGMENTATION, probability, SIZE, blit=True, geometry=False)
    still = (matrix == torch.eye(3)).flatten(1).all(dim=1).float().mean()
    moves = [round((2 * (i + 0.5) / 10**5 - 1) * 0.125 * SIZE) == 0 for i in range(10**5)]
    unmoved = (sum(moves) / 10**5) ** 2
    expected = (1 - p / 2) * (1 - p * 3 / 4) * (1 - p * (1 - unmoved))
    # A half turn that is flipped twice over is no picture's own: products other than 1 are rare enough.
    assert float(still) == pytest.approx(expected, abs=0.02)
    matrix = warp_matrix(noise(n), STREAMS_PER_AUGMENTATION, probability, SIZE, blit=False, geometry=True)
    still = (matrix == torch.eye(3)).flatten(1).all(dim=1).float().mean()
    # Four transforms, of which the two turns together come with probability p.
    assert float(still) == pytest.approx((1 - p) ** 4, abs=0.02)


def test_scales_and_moves_have_the_strengths_of_the_paper():
    n = 20_000
    matrix = warp_matrix(noise(n), STREAMS_PER_AUGMENTATION, torch.tensor(1.0), SIZE, blit=False, geometry=True)
    areas = torch.linalg.det(matrix).log2() / 2
    assert float(areas.mean()) == pytest.approx(0, abs=0.01)
    assert float(areas.std()) == pytest.approx(0.2, rel=0.03)
    colours = colour_matrix(noise(n), STREAMS_PER_AUGMENTATION, torch.tensor(1.0), hues=True)
    grey = colours[:, :3, :3].sum(dim=(1, 2)) / 3  # what becomes of white
    assert float(grey.abs().log2().std()) == pytest.approx(0.5, rel=0.03)
    assert float((grey < 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    # Saturation scales both directions across the grey diagonal.
    across = torch.linalg.det(colours[:, :3, :3]).abs().log2() - 3 * grey.abs().log2()
    assert float(across.std()) == pytest.approx(2.0, rel=0.03)


def test_a_blit_is_a_flip_turn_or_move_of_the_picture():
    """Each of the warped corners of a picture with one bright pixel is where a whole-pixel map may bring it."""
    x = torch.zeros(200, 1, SIZE, SIZE)
    x[:, :, 7, 6] = 1
    y = warped(x, noise(200), STREAMS_PER_AUGMENTATION, torch.tensor(1.0), blit=True, geometry=False)
    torch.testing.assert_close(y.amax(dim=(1, 2, 3)), torch.ones(200), rtol=0, atol=1e-4)
    torch.testing.assert_close(y.sum(dim=(1, 2, 3)), torch.ones(200), rtol=0, atol=1e-3)
    places = {tuple(divmod(int(each), SIZE)) for each in y.flatten(1).argmax(dim=1)}
    near = {(a, b) for a in range(5, 11) for b in range(4, 12)} | {(b, a) for a in range(5, 11) for b in range(4, 12)}
    assert places <= near
    assert len(places) > 20


def test_hue_and_luma_keep_what_they_should():
    """Hue turns about the grey axis, a luma flip mirrors at the plane across it, so neither changes a length."""
    n = 50
    matrix = colour_matrix(noise(n), STREAMS_PER_AUGMENTATION, torch.tensor(1.0), hues=True)[:, :3, :3]
    grey = torch.ones(n, 3, 1) / math.sqrt(3)
    factor = (grey.transpose(1, 2) @ matrix @ grey).flatten()
    torch.testing.assert_close(matrix @ grey, factor.view(-1, 1, 1) * grey, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("signs", "direction"), [(1.0, 1), (-1.0, -1), (0.55, -1), (0.65, 1)])
def test_the_probability_follows_the_discriminators_confidence(signs, direction):
    ada = Ada(target=0.6, images=1000, interval=2)
    ada.probability.fill_(0.5)
    ada.observe(torch.full((10,), signs), 10)
    assert float(ada.probability) == 0.5  # one batch of two
    ada.observe(torch.full((10,), signs), 10)
    assert float(ada.probability) == pytest.approx(0.5 + direction * 20 / 1000)
    assert float(ada.count) == float(ada.verdicts) == 0


def test_probability_stays_between_0_and_1():
    ada = Ada(images=400, interval=1)
    for step in range(1, 60):
        ada.observe(torch.ones(10), 10)
        assert float(ada.probability) == pytest.approx(min(1.0, step * 10 / 400), abs=1e-5)
    for _ in range(60):
        ada.observe(-torch.ones(10), 10)
    assert float(ada.probability) == 0


def test_verdicts_in_parts_count_as_the_whole_batch():
    whole, parts = Ada(images=1000), Ada(images=1000)
    for _ in range(4):
        whole.observe(torch.ones(12), 12)
        for size in (5, 4, 3):
            parts.observe(torch.ones(size), 12)
    assert float(whole.probability) == pytest.approx(48 / 1000)
    assert torch.equal(whole.probability, parts.probability)
