"""ResNet-RS as timm names and shapes its tensors, with weights of NumPy alone.

`record_timm` checks names and shapes against timm itself.
"""

import zlib

import numpy as np

BLOCKS = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    270: (4, 29, 53, 4),
    350: (4, 36, 72, 4),
    420: (4, 44, 87, 4),
}
#: Sides of images; the odd one has other paddings.
SIZES = (96, 161)
NUM_IMAGES, NUM_CLASSES = 2, 10
MEAN, STDDEV = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(size):
    """Pixels uint8 [B,S,S,3]: squares of random colors, which features tell apart."""
    colors = (random("images", (NUM_IMAGES, 4, 4, 3)) * 256).astype(np.uint8)
    places = np.arange(size) * 4 // size
    return colors[:, places][:, :, places]


def weights(depth):
    """Tensors by timm's names, batch-norm statistics among them."""
    return {name: _value(name, shape) for name, shape in _shapes(depth)}


def random(name, shape):
    """Numbers in [0, 1) that depend on name and shape alone, in any NumPy."""
    return np.random.default_rng(zlib.crc32(name.encode())).random(shape)


def _value(name, shape):
    tensor = name.rpartition(".")[2]
    if tensor == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    uniform = random(name, shape)
    if tensor == "running_var":
        value = 0.5 + uniform
    elif len(shape) > 1:
        value = (2 * uniform - 1) * np.sqrt(3 / np.prod(shape[1:]))
    elif name.endswith("bn3.weight"):
        value = 0.1 + 0.2 * uniform  # Keeps activations near 1.
    elif _is_batch_norm(name) and tensor == "weight":
        value = 0.5 + uniform
    else:
        value = uniform - 0.5
    return value.astype(np.float32)


def _is_batch_norm(name):
    layers = ("conv1.1", "conv1.4", "maxpool.1", "downsample.2")
    layer = name.rpartition(".")[0]
    return layer.rpartition(".")[2].startswith("bn") or layer.endswith(layers)


def _shapes(depth):
    yield from _convolution("conv1.0", 3, 32, 3)
    yield from _batch_norm("conv1.1", 32)
    yield from _convolution("conv1.3", 32, 32, 3)
    yield from _batch_norm("conv1.4", 32)
    yield from _convolution("conv1.6", 32, 64, 3)
    yield from _batch_norm("bn1", 64)
    yield from _convolution("maxpool.0", 64, 64, 3)
    yield from _batch_norm("maxpool.1", 64)
    entering = 64
    for stage, num_blocks in enumerate(BLOCKS[depth], 1):
        width = 32 * 2**stage
        for block in range(num_blocks):
            yield from _block(f"layer{stage}.{block}", entering, width, block == 0)
            entering = 4 * width
    yield "fc.weight", (NUM_CLASSES, entering)
    yield "fc.bias", (NUM_CLASSES,)


def _block(name, entering, width, has_projection):
    leaving = 4 * width
    sizes = ((entering, width, 1), (width, width, 3), (width, leaving, 1))
    for number, (before, after, size) in enumerate(sizes, 1):
        yield from _convolution(f"{name}.conv{number}", before, after, size)
        yield from _batch_norm(f"{name}.bn{number}", after)
    for part, before, after in (("fc1", leaving, width), ("fc2", width, leaving)):
        yield from _convolution(f"{name}.se.{part}", before, after, 1)
        yield f"{name}.se.{part}.bias", (after,)
    if has_projection:
        yield from _convolution(f"{name}.downsample.1", entering, leaving, 1)
        yield from _batch_norm(f"{name}.downsample.2", leaving)


def _convolution(name, before, after, size):
    yield f"{name}.weight", (after, before, size, size)


def _batch_norm(name, channels):
    for tensor in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{tensor}", (channels,)
    yield f"{name}.num_batches_tracked", ()
