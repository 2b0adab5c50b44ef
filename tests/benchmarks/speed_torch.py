"""The PyTorch side of `speed.py`: diffusers' UNet2DModel, AdamW, clipping and an average, as a person would write it.

Started by `speed.py` with a Python that has torch and diffusers, with VARIANT NETWORK SIZE BATCH; VARIANT is eager,
channels_last or compile.
"""

import json
import sys

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

from tests.benchmarks.speed import serve


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


def main(variant: str, network: dict, size: int, batch_size: int) -> None:
    torch.manual_seed(0)
    unet = build(network, size)
    average = [p.detach().clone() for p in unet.parameters()]
    images = torch.rand(batch_size, 3, size, size) * 2 - 1
    if variant == "channels_last":
        unet, images = (
            unet.to(memory_format=torch.channels_last),
            images.to(memory_format=torch.channels_last),
        )
    called = torch.compile(unet) if variant == "compile" else unet
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, fused=True)
    noiser, sampler = DDPMScheduler(1000), DDIMScheduler(1000)
    sampler.set_timesteps(50)

    def train() -> None:
        noise, t = torch.randn_like(images), torch.randint(0, 1000, (batch_size,))
        loss = torch.nn.functional.mse_loss(called(noiser.add_noise(images, noise, t), t).sample, noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(unet.parameters()), 1e-3)

    @torch.no_grad()
    def forward() -> None:
        called(images, torch.full((batch_size,), 500))

    @torch.no_grad()
    def draw(scheduler: DDIMScheduler | DDPMScheduler) -> None:
        x = torch.randn_like(images)
        for t in scheduler.timesteps:
            x = scheduler.step(called(x, t.expand(batch_size)).sample, t, x).prev_sample

    serve(
        {
            "train": train,
            "forward": forward,
            "ddim50": lambda: draw(sampler),
            "ancestral1000": lambda: draw(noiser),
        }
    )


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
