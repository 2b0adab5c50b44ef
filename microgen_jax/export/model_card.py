"""The README of an exported model: what it was trained on, how, how good it is, and how to load it."""

from dataclasses import asdict
from typing import Any

from microgen_jax.diffusion import Sampling
from microgen_jax.export.trained_model import TrainedModel

_CARD = """\
---
library_name: {library}
tags: [microstructure, EBSD, diffusion, microgen-jax]
---

# Microstructures by microgen-jax

Generates synthetic microstructures of {height}x{width} px, {channels} channels. They are neither measurements nor
simulations: use them where statistics of images matter, and check the figures below first.

## Load

{load}

## Data

| what | value |
|---|---|
{data}

## Settings

| what | value |
|---|---|
{settings}

## Figures

{figures}
"""

UNCONDITIONAL = """\
```python
from diffusers import DDPMPipeline

pipeline = DDPMPipeline.from_pretrained("FOLDER")
images = pipeline(batch_size=4, num_inference_steps={steps}).images
```"""

CLASSES = """\
`DDPMPipeline` passes no labels, so the loop is written out:

```python
import torch
from diffusers import DDPMScheduler, UNet2DModel

unet = UNet2DModel.from_pretrained("FOLDER", subfolder="unet").eval()
scheduler = DDPMScheduler.from_pretrained("FOLDER", subfolder="scheduler")
scheduler.set_timesteps({steps})
label = torch.tensor([0, 0, 0, 0])  # {classes}; {none} = no class
x = torch.randn(len(label), {channels}, {height}, {width})
with torch.no_grad():
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t, label).sample, t, x).prev_sample
images = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
```"""

OWN_SAMPLING = """

The scheduler takes DDPM's own steps, spaced as `trailing`, and clips; the loop has no guidance. Whatever else
`sample.*` says under Settings is how microgen-jax samples: `--mode=import` brings it back, and
`export.format=stablehlo` has it built in."""

STABLEHLO = """\
`python sample.py` (needs jax, flatbuffers, safetensors, numpy and pillow; microgen-jax is not needed):

```python
{loader}```"""


def diffusers_loader(model: TrainedModel) -> str:
    """Return the section that shows how PyTorch users load the folder.

    Args:
      model: exported model.
    """
    height, width = model.config.data.size
    classes = model.resolved.classes
    numbered = ", ".join(f"{i} = {name}" for i, name in enumerate(classes))
    return ((UNCONDITIONAL if len(classes) < 2 else CLASSES) + OWN_SAMPLING).format(
        steps=model.config.sample.steps,
        classes=numbered,
        none=len(classes),
        channels=model.resolved.channels,
        height=height,
        width=width,
    )


def model_card(model: TrainedModel, library: str, load: str) -> str:
    """Return the card as Markdown.

    Args:
      model: exported model.
      library: name of the library that loads it.
      load: section that shows how to load it.
    """
    config, resolved = model.config, model.resolved
    height, width = config.data.size
    data = {
        "source": resolved.kind,
        "fingerprint": resolved.fingerprint,
        "classes": ", ".join(resolved.classes),
        "conditions": ", ".join(resolved.conditions) or "none",
        "IPF direction and key": f"{config.data.ipf_direction or 'no IPF map'}, {config.data.colour_key}",
        "flips and turns": f"{config.data.augment}, symmetry {config.data.symmetry}",
        "resampling": config.data.resample,
    }
    settings = {
        "checkpoint": f"{model.step} updates of {config.train.batch_size} images, averaged weights",
        **{f"model.{name}": value for name, value in asdict(config.model).items()},
        **{f"diffusion.{name}": value for name, value in asdict(config.diffusion).items()},
        **{f"sample.{name}": getattr(config.sample, name) for name in (*Sampling.names(), "ema")},
    }
    return _CARD.format(
        library=library,
        height=height,
        width=width,
        channels=resolved.channels,
        load=load,
        data=_rows(data),
        settings=_rows(settings),
        figures=_figures(model.metrics),
    )


def _rows(values: dict) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in values.items())


def _figures(metrics: dict[str, dict[str, Any]]) -> str:
    """Return the distances of the run's evaluation beside their baselines."""
    if not metrics:
        return "Not evaluated (`--mode=evaluate` before `--mode=export` puts the figures here)."
    rows = [
        f"| {name} | {metric['value']:.4g} | {metric['baseline']:.4g} |"
        for name, metric in metrics.items()
        if metric.get("value") is not None and metric.get("baseline") is not None
    ]
    head = "Distance between generated and real images, and between two halves of the real ones (the baseline).\n\n"
    return head + "\n".join(["| metric | value | baseline |", "|---|---|---|", *rows])
