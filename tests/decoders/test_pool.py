"""Memory that is used again must never be used while somebody looks at it."""

import gc

import numpy as np

from pipeline.decode.pool import Pool

SHAPE = (4, 360, 640, 3)


def test_memory_is_used_again_once_nobody_looks_at_it():
    pool = Pool()
    first = pool.array(SHAPE, np.uint8)
    first[:] = 7
    del first
    assert (pool.array(SHAPE, np.uint8) == 7).all()


def test_memory_that_is_looked_at_stays_as_it_is():
    pool = Pool()
    first = pool.array(SHAPE, np.uint8)
    first[:] = 7
    picture = first[2, 10:20].T
    del first
    gc.collect()
    others = [pool.array(SHAPE, np.uint8) for _ in range(3)]
    for other in others:
        other[:] = 9
    assert (picture == 7).all()


def test_arrays_are_of_the_shape_and_type_that_were_asked_for():
    pool = Pool()
    for shape, dtype in ((SHAPE, np.uint8), ((2, 3), np.uint8), ((700, 500), np.float32), ((0, 4, 4, 3), np.uint8)):
        made = pool.array(shape, dtype)
        assert (made.shape, made.dtype) == (shape, np.dtype(dtype))
        assert made.flags.c_contiguous
        assert made.flags.writeable


def test_memory_much_too_large_is_not_held_by_a_small_picture():
    pool = Pool()
    large = pool.array((64, 360, 640, 3), np.uint8)
    large[:] = 7
    del large
    assert not (pool.array(SHAPE, np.uint8) == 7).any()
