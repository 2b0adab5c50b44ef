"""The PyTorch side of `speed.py`: diffusers' UNet2DModel, AdamW, clipping and an average, as a person would write it.

Started by `speed.py` with a Python that has torch and diffusers, with VARIANT CASE; VARIANT is eager, channels_last,
compile, or compile_graphs (`mode='reduce-overhead'`), both of them in channels_last.
"""

import copy
import sys
from collections.abc import Callable

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

from tests.benchmarks.speed import CASES, resident, serve


def build(network: dict, size: int) -> UNet2DModel:
    levels = len(network["channels"])
    return UNet2DModel(
        sample_size=size,
        in_channels=3,
        out_channels=3,
        layers_per_block=network["blocks"],
        block_out_channels=tuple(network["channels"]),
        down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
        norm_num_groups=network["groups"],
        attention_head_dim=network["head_dim"],
    )


def called(unet: UNet2DModel, variant: str) -> Callable:
    if variant == "compile":
        return torch.compile(unet)
    return torch.compile(unet, mode="reduce-overhead") if variant == "compile_graphs" else unet


def main(variant: str, network: dict, size: int, batch_size: int) -> None:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    half = network["dtype"] == "bfloat16"
    layout = torch.contiguous_format if variant == "eager" else torch.channels_last
    unet = build(network, size).to(device, memory_format=layout)
    average = [p.detach().clone() for p in unet.parameters()]
    images = (torch.rand(batch_size, 3, size, size) * 2 - 1).to(device, memory_format=layout)
    trained = called(unet, variant)
    drawing = called(copy.deepcopy(unet).to(torch.bfloat16), variant) if half else trained
    x0 = images.to(torch.bfloat16) if half else images
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, fused=True)
    noiser, sampler = DDPMScheduler(1000), DDIMScheduler(1000)
    sampler.set_timesteps(50)

    def train() -> None:
        noise, t = torch.randn_like(images), torch.randint(0, 1000, (batch_size,), device=device)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            predicted = trained(noiser.add_noise(images, noise, t), t).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(unet.parameters()), 1e-3)

    @torch.no_grad()
    def forward() -> None:
        drawing(x0, torch.full((batch_size,), 500, device=device))

    @torch.no_grad()
    def draw(scheduler: DDIMScheduler | DDPMScheduler) -> None:
        x = torch.randn_like(x0)
        for t in scheduler.timesteps:
            x = scheduler.step(drawing(x, t.to(device).expand(batch_size)).sample, t, x).prev_sample

    pixels = torch.rand(batch_size, 3, size, size)
    batch = pixels, torch.zeros(batch_size, dtype=torch.int32)

    def feed(*arrays: torch.Tensor) -> None:
        for x in arrays:
            _ = x.pin_memory().to(device, non_blocking=True) if device == "cuda" else x.to(device)

    def finished(task: Callable, *arguments) -> Callable[[], None]:
        def run() -> None:
            task(*arguments)
            if device == "cuda":
                torch.cuda.synchronize()

        return run

    rounds = {
        "train": finished(train),
        "forward": finished(forward),
        "ddim50": finished(draw, sampler),
        "ancestral1000": finished(draw, noiser),
        "feed": finished(feed, pixels),
        "feed_uint8": finished(feed, (255 * pixels).to(torch.uint8)),
        "feed_batch": finished(feed, *batch),
    }
    serve(rounds, torch.cuda.max_memory_allocated if device == "cuda" else resident)


if __name__ == "__main__":
    main(sys.argv[1], *CASES[sys.argv[2]])
