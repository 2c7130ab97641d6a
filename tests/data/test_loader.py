import dataclasses

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.data.images import Images
from gensweep.data.loader import Loader


def numbered(n: int, *, flip: bool = False, size: int = 4) -> Images:
    """n images whose first row tells their number and whose columns differ, so that a mirrored one is recognised."""
    pixels = torch.zeros(n, 1, size, size, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.arange(n) % 251 + 1
    pixels[:, 0, 1, :] = torch.arange(n)[:, None] // 251
    return Images(pixels, torch.arange(n), tuple(map(str, range(n))), "numbers/train", "0", flip)


SIZES = st.integers(1, 40)
SEEDS = st.integers(0, 2**63 - 1)


@settings(deadline=None)
@given(SIZES, SEEDS, st.integers(0, 10**6), st.integers(1, 100), st.integers(1, 9), st.booleans())
def test_shares_of_all_ranks_make_the_batch_of_one(n, seed, position, batch_size, world, flip):
    images = numbered(n, flip=flip)
    whole = Loader(images, seed=seed).batch(position, batch_size)
    shares = [Loader(images, seed=seed).batch(position, batch_size, rank, world) for rank in range(world)]
    for one, parts in zip(whole, zip(*shares, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(parts), one, rtol=0, atol=0)
    sizes = [len(share.labels) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(SIZES, SEEDS, st.integers(0, 1000), st.integers(1, 25))
def test_every_epoch_is_a_permutation(n, seed, epoch, batch_size):
    loader = Loader(numbered(n), seed=seed)
    cut = range(epoch * n, (epoch + 1) * n, batch_size)
    parts = [loader.batch(start, min(batch_size, (epoch + 1) * n - start)).labels for start in cut]
    assert sorted(torch.cat(parts).tolist()) == list(range(n))


@settings(deadline=None)
@given(SIZES, SEEDS, st.lists(st.tuples(st.integers(0, 500), st.integers(1, 200)), min_size=1, max_size=5))
def test_batch_depends_on_its_position_only(n, seed, calls):
    images = numbered(n, flip=True)
    used = Loader(images, seed=seed)
    for position, batch_size in calls:
        for mine, fresh in zip(
            used.batch(position, batch_size), Loader(images, seed=seed).batch(position, batch_size), strict=True
        ):
            torch.testing.assert_close(mine, fresh, rtol=0, atol=0)


def test_epochs_and_seeds_differ():
    n = 100
    loader, other = Loader(numbered(n), seed=1), Loader(numbered(n), seed=2)
    orders = [tuple(each.batch(epoch * n, n).labels.tolist()) for each in (loader, other) for epoch in range(5)]
    assert len(set(orders)) == len(orders)


def test_bytes_become_the_interval_from_minus_1_to_1():
    pixels = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    images = dataclasses.replace(numbered(256, size=8), pixels=pixels)
    drawn = Loader(images, seed=0).batch(0, 256)
    assert drawn.images.dtype == torch.float32
    torch.testing.assert_close(drawn.images[:, 0, 0, 0], drawn.labels / 127.5 - 1)
    assert (drawn.images.min(), drawn.images.max()) == (-1, 1)
    # Quantised back as the metrics do, every byte is what it was.
    back = (127.5 * drawn.images + 128).floor().clamp(0, 255)
    assert (back[:, 0, 0, 0] == drawn.labels).all()


def test_half_of_the_images_are_mirrored_and_anew_in_each_epoch():
    n = 200
    loader = Loader(numbered(n, flip=True), seed=0)
    mirrored = []
    for epoch in range(2):
        drawn = loader.batch(epoch * n, n)
        plain, flipped = drawn.images[:, 0, 0, 0] > -1, drawn.images[:, 0, 0, -1] > -1
        assert (plain ^ flipped).all()
        mirrored.append(flipped[drawn.labels.argsort()])
    unflipped = Loader(numbered(n, flip=False), seed=0).batch(0, n)
    assert (unflipped.images[:, 0, 0, 0] > -1).all()
    assert 70 < mirrored[0].sum() < 130
    assert 70 < (mirrored[0] ^ mirrored[1]).sum() < 130
