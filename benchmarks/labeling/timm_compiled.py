"""timm's network at its fastest on a CPU: bfloat16, compiled, frozen, channels_last.

Its images come from torchvision, which is faster than Pillow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.labeling.processes import run_in_parallel
from benchmarks.labeling.task import LabelingTask, RunLog

NETWORK = "resnetrs50"
NUM_CLASSES = 1000
SIZE = 160
#: Share of the shorter side that is kept, equal to ours.
CROP = 0.875


def run(task: LabelingTask, run_log: RunLog) -> None:
    """Labels the images, divided among the processes."""
    run_in_parallel(_label, task, run_log)


def decode(path: str) -> Any:
    """Returns the center crop of a JPEG file, resized, uint8 [3,S,S]."""
    from torchvision import io
    from torchvision.transforms.v2 import InterpolationMode, functional

    pixels = io.decode_jpeg(io.read_file(path), io.ImageReadMode.RGB)
    height, width = pixels.shape[-2:]
    side = int(CROP * min(height, width))
    return functional.resized_crop(
        pixels,
        (height - side + 1) // 2,
        (width - side + 1) // 2,
        side,
        side,
        [SIZE, SIZE],
        InterpolationMode.BICUBIC,
    )


def decode_batch(paths: list[str]) -> Any:
    """Returns uint8 [B,3,S,S], in shared memory where a loader process decodes."""
    import torch

    return torch.utils.data.default_collate([decode(path) for path in paths])


def compile_network() -> Callable[[Any], Any]:
    """Returns the network from uint8 [B,3,S,S] to logits float32 [B,K]."""
    import timm
    import torch

    torch._inductor.config.freezing = True
    model = timm.create_model(NETWORK, num_classes=NUM_CLASSES).eval()
    model = model.to(memory_format=torch.channels_last, dtype=torch.bfloat16)

    def logits_of(images: Any) -> Any:
        pixels = (images.float() / 255 - 0.45) / 0.225
        return model(pixels.to(torch.bfloat16)).float()

    return torch.compile(logits_of)


def _label(index: int, barrier: Any, task: LabelingTask, run_log: RunLog) -> None:
    import torch

    torch.set_num_threads(task.threads)
    network = compile_network()
    batch = torch.zeros((task.batch, 3, SIZE, SIZE), dtype=torch.uint8)
    batch = batch.contiguous(memory_format=torch.channels_last)
    loader = torch.utils.data.DataLoader(
        task.jpeg_files()[index :: task.processes],
        batch_size=task.batch,
        num_workers=task.loaders,
        collate_fn=decode_batch,
    )
    with torch.inference_mode():
        for _ in range(2):
            network(batch)  # Compiles.
        barrier.wait()
        started = time.time()
        for images in loader:
            batch[: len(images)] = images  # The last one is padded, as ours is.
            network(batch)[: len(images)].argmax(dim=1).numpy()
            run_log.add_batch(started, len(images))
