"""Every field of the configuration, once: type, default, range, choices, help, and whether a resumed run may change it.

`configs/default.py`, the checks, the nearest names, `config.json` and the rules of resuming are derived from here; the
packages take the frozen parts. A new field is a line in its part's class.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

MANY = 10**9  # updates, images: below what 32 bits count
WIDE = 2**14  # pixels of a side, channels

Resume = Literal["fixed", "grow", "change"]


@dataclass(frozen=True)
class Option:
    """What is known of a field beside its name, type and default.

    Attributes:
      help: for `configs/default.py`.
      choices: the values that a text may have; () = any.
      low, high: least and greatest value, of a number or of each entry of a tuple.
      above, below: bounds that are excluded.
      resume: whether a run that is resumed keeps the value ('fixed'), may raise it or may change it.
    """

    help: str
    choices: tuple[str, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    above: int | float | None = None
    below: int | float | None = None
    resume: Resume = "fixed"


def option(default: Any, help: str, **rules: Any) -> Any:
    """Declare a field with its default and an `Option` in its metadata."""
    return field(default=default, metadata={"option": Option(help, **rules)})


@dataclass(frozen=True)
class DataConfig:
    """The `data` part."""

    source: str = option(
        "auto",
        "auto | polycrystal | folder | list | hdf5 | npz | tfds | ebsd",
        choices=("auto", "polycrystal", "folder", "list", "hdf5", "npz", "tfds", "ebsd"),
    )
    root: str = option("", "folder, .zip, list, .npz, .h5, scan; where tfds prepared; '' = the polycrystals")
    name: str = option("", "tfds: the data set, as in 'mnist' or 'builder/config'")
    key: str = option("", "hdf5, npz: which array holds the images; '' = the first one that can")
    layout: str = option(
        "auto",
        "hdf5, npz: HW | NHW | HWK | HWC | NHWC, N and K count images, C channels",
        choices=("auto", "HW", "NHW", "HWK", "HWC", "NHWC"),
    )
    value_range: str = option(
        "auto", "hdf5, npz: 'black,white' as in '0,255' | ids = grain ids, drawn as boundaries"
    )
    size: tuple[int, ...] = option((64, 64), "height, width in px that the model sees", low=1, high=WIDE)
    channels: int = option(
        3, "3 = RGB, 1 = grey; of the polycrystals 3 = IPF colours, 1 = grain boundaries", low=1, high=1024
    )
    to_grey: bool = option(
        False, "with channels=1: colour images become their luminance instead of being refused"
    )
    resample: str = option(
        "none",
        "none = original pixel size | nearest, area: fit the short side | stretch",
        choices=("none", "nearest", "area", "stretch"),
    )
    pad: str = option(
        "reflect",
        "images smaller than size: reflect | background = median of the border | refuse",
        choices=("reflect", "background", "refuse"),
    )
    augment: bool = option(True, "flips and quarter turns that keep the images true (see symmetry)")
    symmetry: str = option(
        "all", "of the process: all | orthotropic | monoclinic | none, or 'Shear=none,Tension=all'"
    )
    ipf_direction: str = option(
        "Z", "of the colours: X | Y | Z | 'x,y,z' | XYZ = nine channels | '' = no IPF map"
    )
    ebsd: str = option(
        "ipf",
        "ebsd: ipf = colours | quaternions = orientations in four channels (docs/data.md)",
        choices=("ipf", "quaternions"),
    )
    colour_key: str = option("tsl", "ebsd: tsl | edax", choices=("tsl", "edax"))
    laue_group: str = option("", "ebsd: of phases for which the file names none, as in 'm-3m'")
    window: str = option(
        "random",
        "window of larger images: random | grid = every one on a grid, an image for itself",
        choices=("random", "grid"),
    )
    tile_overlap: float = option(
        0.5,
        "ebsd, and window=grid: share of its side that a tile has in common with the next one",
        low=0.0,
        below=1.0,
    )
    min_indexed: float = option(0.9, "ebsd: least share of indexed points in a tile")
    fill_unindexed: str = option(
        "nearest",
        "ebsd: points that are not indexed: nearest indexed one | black",
        choices=("nearest", "black"),
    )
    filename_pattern: str = option("", "regex; its named groups become conditions or the split group")
    label_by: str = option(
        "", "column (list, metadata.csv, filename_pattern) that names the class; '' = the folder"
    )
    conditions: tuple[str, ...] = option(
        (), "continuous ones: columns as for label_by, or descriptors of the polycrystals"
    )
    split_by: str = option(
        "", "column, as for label_by, that a split keeps together; '' = every image for itself"
    )
    holdout: float = option(
        0.1,
        "share of the groups kept out of training; at least one, never all of a class",
        low=0.0,
        below=0.9,
    )
    on_bad_file: str = option(
        "raise", "raise | skip (counted and listed by --mode=inspect)", choices=("raise", "skip")
    )
    count: int = option(10000, "polycrystal: how many different images there are", low=1, high=10**8)
    cache: str = option(
        "", "folder for decoded images, written once and then mapped into memory; '' = off", resume="change"
    )
    workers: int = option(4, "threads that decode and augment", low=0, high=1024, resume="change")
    read_timeout: float = option(
        300.0,
        "seconds without a batch after which it is read again, three times at most",
        above=0.0,
        resume="change",
    )


@dataclass(frozen=True)
class ModelConfig:
    """The `model` part."""

    channels: tuple[int, ...] = option(
        (64, 128, 256), "per level; each level halves height and width", low=1, high=WIDE
    )
    blocks_per_level: int = option(2, "residual blocks", low=1, high=64)
    attention_levels: tuple[bool, ...] = option(
        (False, False, True), "self-attention after each block of a level"
    )
    mid_attention: bool = option(True, "self-attention between the two blocks of the middle")
    head_dim: int = option(64, "channels per attention head", low=1, high=WIDE)
    norm_groups: int = option(
        32, "groups of every GroupNorm; divides every level's channels", low=1, high=WIDE
    )
    dropout: float = option(0.0, "", low=0.0, below=1.0)
    dtype: str = option(
        "float32",
        "float32 | bfloat16: inside the network; parameters stay float32",
        choices=("float32", "bfloat16"),
    )
    remat: tuple[bool, ...] = option(
        (False, False, False), "per level: save memory, recompute in the backward pass"
    )


@dataclass(frozen=True)
class DiffusionConfig:
    """The `diffusion` part."""

    timesteps: int = option(1000, "", low=1, high=10**6)
    schedule: str = option("linear", "linear | cosine | sigmoid", choices=("linear", "cosine", "sigmoid"))
    beta_start: float = option(0.0001, "linear and sigmoid")
    beta_end: float = option(0.02, "linear and sigmoid")
    zero_terminal_snr: bool = option(False, "leave nothing of the image at the last time; not with eps")
    prediction: str = option("eps", "eps | x0 | v", choices=("eps", "x0", "v"))
    loss: str = option(
        "mse", "mse | huber | l1 | bce (binary images, prediction x0)", choices=("mse", "huber", "l1", "bce")
    )
    weighting: str = option(
        "uniform", "uniform | min_snr | p2 | vlb", choices=("uniform", "min_snr", "p2", "vlb")
    )
    time_sampling: str = option(
        "uniform",
        "uniform | stratified over the batch | importance, by the loss",
        choices=("uniform", "stratified", "importance"),
    )
    condition_dropout: float = option(
        0.1, "share of the labels, and of each condition, hidden in training", low=0.0, below=1.0
    )


@dataclass(frozen=True)
class WganConfig:
    """The `wgan` part."""

    n_critic: int = option(
        5, "updates of the critic to one of the generator; a step reads as many minibatches", low=1, high=1000
    )
    gp_weight: float = option(10.0, "of the gradient penalty", low=0.0)
    latent_dim: int = option(100, "length of a latent vector", low=1, high=WIDE)
    width: int = option(
        64,
        "channels beside the image; twice as many a level further in, eight times at most",
        low=1,
        high=WIDE,
    )
    critic_learning_rate: float = option(0.0004, "train.learning_rate is the generator's", above=0.0)
    conditional: bool = option(True, "tell both networks the class, where there are more than one")


@dataclass(frozen=True)
class TrainConfig:
    """The `train` part."""

    steps: int = option(100000, "updates", low=1, high=MANY, resume="grow")
    schedule_steps: int = option(
        0, "end of the learning-rate schedule; 0 = train.steps of the first start", low=0, high=MANY
    )
    batch_size: int = option(16, "global; of wgan_gp each critic update's", low=1, high=2**20)
    learning_rate: float = option(0.0002, "", above=0.0)
    lr_schedule: str = option(
        "cosine", "cosine | constant, after the warm-up", choices=("cosine", "constant")
    )
    warmup_steps: int = option(500, "", low=0, high=MANY)
    weight_decay: float = option(0.01, "AdamW; kernels and tables only", low=0.0)
    clip_norm: float = option(1.0, "global gradient norm; 0 = off", low=0.0)
    ema_decay: float = option(
        0.9999, "of the averaged parameters, which everything is drawn with", low=0.0, below=1.0
    )
    ema_widths: tuple[float, ...] = option(
        (), "of further averages, (0.05, 0.1): sample.ema makes any width of them afterwards"
    )
    accumulate: int = option(1, "micro-batches summed into one update", low=1, high=2**20)
    log_every: int = option(100, "", low=1, high=MANY, resume="change")
    sample_every: int = option(5000, "a grid of the same seeds; 0 = never", low=0, high=MANY, resume="change")
    sample_num: int = option(16, "images in that grid", low=1, high=10**6)
    eval_every: int = option(1000, "held-out loss; 0 = never", low=0, high=MANY, resume="change")
    eval_num: int = option(512, "held-out images that it is taken over; 0 = all", low=0, high=MANY)
    eval_samples: int = option(
        64,
        "images drawn in 25 steps with it, for the ratios called quality; 0 = none",
        low=0,
        high=10**6,
        resume="change",
    )
    checkpoint_every: int = option(1000, "", low=1, high=MANY, resume="change")
    skip_batches: tuple[int, ...] = option(
        (),
        "numbers of batches to pass over, as a run that diverged names them",
        low=0,
        high=MANY,
        resume="change",
    )
    keep: int = option(3, "newest checkpoints kept, beside the best", low=1, high=MANY, resume="change")


@dataclass(frozen=True)
class SampleConfig:
    """The `sample` part."""

    sampler: str = option(
        "ancestral",
        "or ancestral_large, ddim, euler, heun, dpmpp2m, dpmpp2m_sde, unipc",
        choices=("ancestral", "ancestral_large", "ddim", "euler", "heun", "dpmpp2m", "dpmpp2m_sde", "unipc"),
    )
    steps: int = option(1000, "of the sampler, diffusion.timesteps at most", low=1, high=10**6)
    eta: float = option(0.0, "ddim: 0 = deterministic, 1 = ancestral")
    spacing: str = option(
        "auto",
        "of the steps: trailing | linspace | leading | karras; auto suits the sampler",
        choices=("auto", "trailing", "linspace", "leading", "karras"),
    )
    clip: bool = option(True, "clip the predicted x0 to [-1, 1]")
    clip_percentile: float = option(0.0, "of |x0|, for dynamic thresholding; 0 = plain clipping")
    guidance: float = option(1.0, "classifier-free guidance; 1 = off")
    guidance_interval: tuple[float, ...] = option(
        (), "noise levels sigma/alpha between which it holds; () = all"
    )
    guidance_rescale: float = option(0.0, "share of the standard deviation that guidance gives back")
    eps_scale: float = option(
        1.0, "times the predicted noise; 1.03 to 1.06 for few steps of a network trained briefly"
    )
    autoguidance: str = option(
        "", "a step: guide by this earlier checkpoint, not by hiding conditions; '' = off"
    )
    num: int = option(16, "", low=1, high=10**7)
    frames: int = option(
        0, "of denoising.gif and denoising.png, from noise to image; 0 = neither", low=0, high=10**4
    )
    trajectory_times: tuple[int, ...] = option(
        (), "times shown in stills.png, as in (999,600,300,100,0); () = no such file", low=0, high=10**6
    )
    batch_size: int = option(16, "per device", low=1, high=WIDE)
    seed: int = option(0, "", low=0, high=2**32 - 1)
    label: str = option("", "class by name or number; '' = every class in turn")
    condition: str = option("", "JSON text: '{\"grain_diameter\": 12}'")
    checkpoint: str = option("newest", "newest | best (by held-out loss) | a step")
    ema: float = option(
        0.0, "relative width of the average, from all kept checkpoints; 0 = by train.ema_decay"
    )
    name: str = option("default", "of the folder under samples/")


@dataclass(frozen=True)
class EvaluateConfig:
    """The `evaluate` part."""

    real: str = option(
        "", "folder, npz, ...: images to compare with; '' = the run's held-out ones", resume="change"
    )
    generated: str = option(
        "",
        "folder, npz, ..., or a name under the run's samples/; '' = drawn from the run for this",
        resume="change",
    )
    num: int = option(1000, "images of either side, at most", low=1, high=10**7, resume="change")
    metrics: tuple[str, ...] = option(
        (), "names of those wanted; () = all that the images allow", resume="change"
    )
    inception_weights: str = option(
        "", "pt_inception-2015-12-05-6726825d.pth, for FID, KID and IS", resume="change"
    )
    inception_preprocessing: str = option(
        "pytorch",
        "pytorch | tensorflow: how images come to 299 px",
        choices=("pytorch", "tensorflow"),
        resume="change",
    )
    copy_search_num: int = option(
        10000, "training images searched for copies; 0 = all", low=0, high=MANY, resume="change"
    )
    pixel_size_um: float = option(1.0, "micrometres of a pixel, for ASTM grain size numbers", resume="change")
    laue_group: str = option("m-3m", "of the sector in which IPF colours are compared", resume="change")
    seed: int = option(
        0, "of the images drawn, the splits and the resamples", low=0, high=2**32 - 1, resume="change"
    )


@dataclass(frozen=True)
class PlanConfig:
    """The `plan` part."""

    devices: tuple[int, ...] = option(
        (1, 8, 64, 256),
        "numbers to plan for; each device has train.batch_size images",
        low=1,
        high=2**20,
        resume="change",
    )
    chip: str = option(
        "h200",
        "a100 | h100 | h200 | tpu_v4 | tpu_v5e | tpu_v5p | tpu_v6e",
        choices=("a100", "h100", "h200", "tpu_v4", "tpu_v5e", "tpu_v5p", "tpu_v6e"),
        resume="change",
    )
    utilisation: float = option(
        0.4, "share of the chip's published peak that convolutions are taken to reach", resume="change"
    )
    channels: int = option(3, "of the images, as no data is opened", low=1, high=1024, resume="change")
    classes: int = option(5, "", low=0, high=10**6, resume="change")
    conditions: int = option(0, "", low=0, high=1000, resume="change")


@dataclass(frozen=True)
class ExportConfig:
    """The `export` part."""

    format: str = option(
        "diffusers",
        "diffusers (PyTorch) | stablehlo (jax.export), into export/<format>/",
        choices=("diffusers", "stablehlo"),
        resume="change",
    )


@dataclass(frozen=True)
class ImportRunConfig:
    """The `import_run` part, of `--mode=import`."""

    folder: str = option("", "the diffusers folder that is imported", resume="change")


@dataclass(frozen=True)
class MeshConfig:
    """The `mesh` part."""

    data: int = option(
        -1, "devices along the batch; -1 = all that fsdp leaves", low=-1, high=2**20, resume="change"
    )
    fsdp: int = option(
        1, "devices that share parameters, EMA and optimizer state", low=1, high=2**20, resume="change"
    )


@dataclass(frozen=True)
class Config:
    """The whole configuration."""

    seed: int = option(0, "seed of the weights, the noise and the order of the data", low=0, high=2**32 - 1)
    method: str = option("ddpm", "ddpm | wgan_gp", choices=("ddpm", "wgan_gp"))
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    wgan: WganConfig = field(default_factory=WganConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    import_run: ImportRunConfig = field(default_factory=ImportRunConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
