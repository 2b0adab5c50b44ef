"""Every field of the configuration, once: type, default, range, choices, help, and whether a resumed run may change it.

`configs/default.py`, the checks, the nearest names, `config.json` and the rules of resuming derive from here, and the
packages take the frozen parts. A new field is one line in its part's class.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from microgen_jax.config.options import Resume, option

MANY = 10**9  # updates, images: below what 32 bits count
WIDE = 2**14  # pixels of a side, channels
SEED = 2**32 - 1  # greatest seed


@dataclass(frozen=True)
class DataConfig:
    """The `data` part."""

    source: str = option(
        "auto",
        "kind of the data set",
        choices=("auto", "polycrystal", "folder", "list", "hdf5", "npz", "tfds", "ebsd"),
    )
    root: str = option("", "folder, .zip, list, .npz, .h5 or scan; of tfds the data_dir; '' = polycrystals")
    name: str = option("", "tfds: name of the data set, as in 'mnist' or 'builder/config'")
    key: str = option("", "hdf5, npz: name of the array that holds the images; '' = the first that fits")
    layout: str = option(
        "auto",
        "hdf5, npz: axes of that array (N and K count images, C channels)",
        choices=("auto", "HW", "NHW", "HWK", "HWC", "NHWC", "CHW", "NCHW"),
    )
    value_range: str = option(
        "auto",
        "range of the values: auto | 'black,white' as in '0,4095' | ids (grain ids, shown as boundaries)",
    )
    max_pixels: int = option(
        2**27, "greatest number of pixels of an image, against decompression bombs", low=1, high=2**40
    )
    size: tuple[int, ...] = option((64, 64), "height and width of the model's images in px", low=1, high=WIDE)
    channels: int = option(
        3, "3 = RGB, 1 = grey; of the polycrystals 3 = IPF colours, 1 = grain boundaries", low=1, high=1024
    )
    to_grey: bool = option(False, "luminance of colour images where channels=1, instead of refusing them")
    resample: str = option(
        "none",
        "resampling (none: original pixel size; nearest, area: fitted short side)",
        choices=("none", "nearest", "area", "stretch"),
    )
    pad: str = option(
        "reflect",
        "treatment of images smaller than size (background: median of the border)",
        choices=("reflect", "background", "refuse"),
    )
    augment: bool = option(True, "flips and quarter turns that symmetry and ipf_direction allow")
    symmetry: str = option(
        "all",
        "symmetry of the process: all | orthotropic | monoclinic | none, or by class 'Shear=none,Tension=all'",
    )
    ipf_direction: str = option(
        "Z", "sample direction of the IPF colours: X | Y | Z | 'x,y,z' | XYZ (nine channels); '' = no IPF map"
    )
    representation: str = option(
        "auto",
        "form of what is generated (auto: orientations of EBSD scans, unless colours are asked for)",
        choices=("auto", "image", "orientation"),
    )
    colour_key: str = option("tsl", "ebsd: colour key of the IPF maps", choices=("tsl", "edax"))
    laue_group: str = option("", "ebsd: Laue group of phases for which the file names none, as in 'm-3m'")
    window: str = option(
        "random",
        "position of the window in larger images (grid: all windows of a grid, each an image)",
        choices=("random", "grid"),
    )
    tile_overlap: float = option(
        0.5, "ebsd, and window=grid: share of its side that a tile shares with the next", low=0.0, below=1.0
    )
    min_indexed: float = option(0.9, "ebsd: least share of indexed points in a tile", low=0.0, high=1.0)
    min_confidence: float = option(
        0.0,
        "ebsd: least confidence index (EDAX), or largest MAD in degrees (Oxford), of a point; 0 = off",
        low=0.0,
    )
    pixel_size_um: float = option(
        0.0,
        "pixel size of the model's images in um, for lengths in reports; 0 = that of the scans",
        low=0.0,
    )
    fill_unindexed: str = option("nearest", "ebsd: colour of unindexed points", choices=("nearest", "black"))
    filename_pattern: str = option("", "regex whose named groups become columns: conditions, class or split")
    label_by: str = option(
        "", "column (of list, metadata.csv, filename_pattern) of the class; '' = the folder"
    )
    conditions: tuple[str, ...] = option(
        (), "columns of the continuous conditions; of the polycrystals, names of descriptors"
    )
    split_by: str = option("", "column whose equal values stay on one side of the split; '' = no groups")
    holdout: float = option(
        0.1,
        "share of the groups held out of training; one at least, never all of a class",
        low=0.0,
        below=0.9,
    )
    on_bad_file: str = option(
        "raise", "treatment of unreadable files (skip: --mode=inspect lists them)", choices=("raise", "skip")
    )
    count: int = option(10000, "polycrystal: number of different images", low=1, high=10**8)
    cache: str = option(
        "", "folder for decoded images, written once, then mapped into memory; '' = off", resume="change"
    )
    workers: int = option(4, "threads that decode and augment", low=0, high=1024, resume="change")
    read_timeout: float = option(
        300.0,
        "seconds without a batch after which the run stops with status 75",
        above=0.0,
        resume="change",
    )


@dataclass(frozen=True)
class ModelConfig:
    """The `model` part."""

    channels: tuple[int, ...] = option(
        (64, 128, 256), "channels of each level; each level halves height and width", low=1, high=WIDE
    )
    values_channels: tuple[int, ...] = option(
        (), "channels of each level of a second stage's network; () = as channels", low=1, high=WIDE
    )
    blocks_per_level: int = option(2, "residual blocks of each level", low=1, high=64)
    attention_levels: tuple[bool, ...] = option(
        (), "levels with self-attention after each block, as in (False,True,True); () = the lowest only"
    )
    mid_attention: bool = option(True, "self-attention between the two blocks of the middle")
    head_dim: int = option(64, "channels of an attention head", low=1, high=WIDE)
    norm_groups: int = option(
        32, "groups of every GroupNorm; divides each level's channels", low=1, high=WIDE
    )
    dropout: float = option(0.0, "dropout rate in the residual blocks", low=0.0, below=1.0)
    dtype: str = option(
        "float32", "precision inside the network; parameters stay float32", choices=("float32", "bfloat16")
    )
    remat: tuple[bool, ...] = option(
        (), "levels recomputed in the backward pass to save memory, one entry each; () = none"
    )


@dataclass(frozen=True)
class DiffusionConfig:
    """The `diffusion` part."""

    timesteps: int = option(1000, "number of noise levels", low=1, high=10**6)
    schedule: str = option("linear", "noise schedule", choices=("linear", "cosine", "sigmoid"))
    beta_start: float = option(0.0001, "first beta of linear and sigmoid", above=0.0, below=1.0)
    beta_end: float = option(0.02, "last beta of linear and sigmoid", above=0.0, below=1.0)
    zero_terminal_snr: bool = option(False, "pure noise at the last time; not with prediction eps")
    prediction: str = option("eps", "quantity that the network predicts", choices=("eps", "x0", "v"))
    loss: str = option("mse", "loss (bce: binary images with x0)", choices=("mse", "huber", "l1", "bce"))
    weighting: str = option("uniform", "weighting over time", choices=("uniform", "min_snr", "p2", "vlb"))
    time_sampling: str = option(
        "uniform",
        "sampling of times (stratified over the batch; importance: by the loss)",
        choices=("uniform", "stratified", "importance"),
    )
    condition_dropout: float = option(
        0.1, "share of labels, and of each condition, hidden in training", low=0.0, below=1.0
    )
    given_noise: float = option(
        0.2, "largest noise, in training, on the channels that a later stage is given", low=0.0, high=2.0
    )


@dataclass(frozen=True)
class WganConfig:
    """The `wgan` part."""

    n_critic: int = option(
        5, "critic updates to one of the generator; a step reads as many minibatches", low=1, high=1000
    )
    gp_weight: float = option(10.0, "weight of the gradient penalty", low=0.0)
    latent_dim: int = option(100, "length of a latent vector", low=1, high=WIDE)
    width: int = option(64, "channels at full size, doubled at each level up to eightfold", low=1, high=WIDE)
    critic_learning_rate: float = option(
        0.0004, "critic's learning rate; train.learning_rate is the generator's", above=0.0
    )
    conditional: bool = option(True, "class as an input of both networks, if there are several")


@dataclass(frozen=True)
class TrainConfig:
    """The `train` part."""

    steps: int = option(100000, "number of updates", low=1, high=MANY, resume="grow")
    schedule_steps: int = option(
        0,
        "length of the learning-rate schedule in updates; 0 = train.steps of the first start",
        low=0,
        high=MANY,
    )
    batch_size: int = option(
        16, "images of an update on all devices; of wgan_gp each critic update's", low=1, high=2**20
    )
    learning_rate: float = option(0.0002, "learning rate at the end of the warm-up", above=0.0)
    lr_schedule: str = option("cosine", "learning rate after the warm-up", choices=("cosine", "constant"))
    warmup_steps: int = option(500, "updates of linear warm-up", low=0, high=MANY)
    weight_decay: float = option(0.01, "AdamW's weight decay of kernels and tables", low=0.0)
    clip_norm: float = option(1.0, "greatest global norm of the gradient; 0 = off", low=0.0)
    ema_decay: float = option(
        0.9999, "decay of the averaged parameters (EMA), with which images are sampled", low=0.0, below=1.0
    )
    ema_widths: tuple[float, ...] = option(
        (),
        "relative widths of further averages, as in (0.05,0.1), from which sample.ema makes others",
        above=0.0,
    )
    accumulate: int = option(1, "micro-batches summed into one update", low=1, high=2**20)
    log_every: int = option(100, "updates between lines of the log", low=1, high=MANY, resume="change")
    sample_every: int = option(5000, "updates between grids; 0 = never", low=0, high=MANY, resume="change")
    sample_num: int = option(16, "images in a progress grid", low=1, high=10**6)
    eval_every: int = option(
        1000, "updates between hold-out losses; 0 = never", low=0, high=MANY, resume="change"
    )
    eval_num: int = option(512, "hold-out images for eval_every; 0 = all", low=0, high=MANY)
    eval_samples: int = option(
        64,
        "images sampled at the same time, in 25 steps, for the quality ratios; 0 = none",
        low=0,
        high=10**6,
        resume="change",
    )
    checkpoint_every: int = option(1000, "updates between checkpoints", low=1, high=MANY, resume="change")
    skip_batches: tuple[int, ...] = option(
        (), "numbers of batches to skip, as a diverged run prints them", low=0, high=MANY, resume="change"
    )
    keep: int = option(3, "newest checkpoints kept, beside the best", low=1, high=MANY, resume="change")
    profile: int = option(0, "updates to trace for TensorBoard; 0 = none", low=0, high=10**4, resume="change")


@dataclass(frozen=True)
class SampleConfig:
    """The `sample` part."""

    sampler: str = option(
        "ancestral",
        "sampler",
        choices=("ancestral", "ancestral_large", "ddim", "euler", "heun", "dpmpp2m", "dpmpp2m_sde", "unipc"),
    )
    steps: int = option(1000, "sampling steps, diffusion.timesteps at most", low=1, high=10**6)
    eta: float = option(0.0, "ddim: share of new noise; 0 = deterministic, 1 = ancestral", low=0.0, high=1.0)
    spacing: str = option(
        "auto",
        "spacing of the steps (auto: that of the sampler in docs/samplers.md)",
        choices=("auto", "trailing", "linspace", "leading", "karras"),
    )
    clip: bool = option(True, "clipping of the predicted x0 to [-1, 1]")
    clip_percentile: float = option(
        0.0, "percentile of |x0| for dynamic thresholding, 1 or more; 0 = plain clipping", low=0.0, high=100.0
    )
    guidance: float = option(1.0, "scale of classifier-free guidance; 1 = off", low=0.0)
    guidance_interval: tuple[float, ...] = option(
        (), "two noise levels sigma/alpha between which guidance acts, as in (0.3,5.0); () = all", low=0.0
    )
    guidance_rescale: float = option(
        0.0, "share by which the guided standard deviation returns to the unguided", low=0.0, high=1.0
    )
    eps_scale: float = option(
        1.0,
        "factor of the predicted noise; 1.03 to 1.06 for few steps of a briefly trained network",
        above=0.0,
        high=2.0,
    )
    autoguidance: str = option(
        "", "step of an earlier checkpoint to guide by, instead of hidden conditions; '' = off"
    )
    num: int = option(16, "number of images", low=1, high=10**7)
    frames: int = option(
        0, "frames of denoising.gif and denoising.png, from noise to image; 0 = neither", low=0, high=10**4
    )
    trajectory_times: tuple[int, ...] = option(
        (), "times shown in trajectory.png, as in (999,600,300,100,0); () = no file", low=0, high=10**6
    )
    batch_size: int = option(16, "images of a batch on each device", low=1, high=WIDE)
    seed: int = option(0, "seed of the images", low=0, high=SEED)
    label: str = option("", "class by name or number; '' = every class in turn")
    condition: str = option("", "conditions as JSON, as in '{\"grain_diameter\": 12}'")
    checkpoint: str = option("newest", "checkpoint: newest | best (by hold-out loss) | a step")
    ema: float = option(
        0.0, "relative width of an average of all kept checkpoints; 0 = that of train.ema_decay", low=0.0
    )
    reconstruct: str = option(
        "auto",
        "orientations of a sample (grains: one for each grain, as auto; none: each pixel's own)",
        choices=("auto", "none", "grains"),
    )
    formats: tuple[str, ...] = option(
        ("png", "npz"),
        "formats of the samples (of scans: maps/, of orientation models)",
        choices=("png", "npz", "ctf", "ang", "h5oina", "dream3d", "vti", "damask"),
    )
    name: str = option("default", "name of the folder under samples/")


@dataclass(frozen=True)
class EvaluateConfig:
    """The `evaluate` part."""

    RESUME: ClassVar[Resume] = "change"
    real: str = option("", "folder, npz, ... of real images; '' = the run's hold-out")
    generated: str = option("", "folder, npz, ..., or a name under the run's samples/; '' = new samples")
    num: int = option(1000, "greatest number of images of each side", low=4, high=10**7)
    metrics: tuple[str, ...] = option((), "names of the metrics; () = all available")
    inception_weights: str = option("", "path of pt_inception-2015-12-05-6726825d.pth, for FID, KID and IS")
    inception_preprocessing: str = option(
        "pytorch", "resampling of images to 299 px", choices=("pytorch", "tensorflow")
    )
    copy_search_num: int = option(10000, "training images searched for copies; 0 = all", low=0, high=MANY)
    pixel_size_um: float = option(0.0, "micrometres of a pixel, for lengths; 0 = the data's", low=0.0)
    laue_group: str = option("", "Laue group of the IPF colours; '' = that of the data, else m-3m")
    seed: int = option(0, "seed of the sampled images, the splits and the resamples", low=0, high=SEED)


@dataclass(frozen=True)
class PlanConfig:
    """The `plan` part."""

    RESUME: ClassVar[Resume] = "change"
    devices: tuple[int, ...] = option(
        (1, 8, 64, 256), "numbers of devices, each with train.batch_size images", low=1, high=2**20
    )
    chip: str = option(
        "h200", "kind of device", choices=("a100", "h100", "h200", "tpu_v4", "tpu_v5e", "tpu_v5p", "tpu_v6e")
    )
    memory_gb: float = option(0.0, "memory of a device in GB; 0 = the chip's", low=0.0)
    utilisation: float = option(0.4, "share of the peak rate that convolutions reach", above=0.0, high=1.0)
    channels: int = option(3, "channels of the images, as no data is opened", low=1, high=1024)
    classes: int = option(5, "number of classes", low=0, high=10**6)
    conditions: int = option(0, "number of continuous conditions", low=0, high=1000)


@dataclass(frozen=True)
class ExportConfig:
    """The `export` part."""

    RESUME: ClassVar[Resume] = "change"
    format: str = option(
        "diffusers",
        "format of export/<format>/ (diffusers: PyTorch; stablehlo: jax.export)",
        choices=("diffusers", "stablehlo"),
    )


@dataclass(frozen=True)
class ImportRunConfig:
    """The `import_run` part, of `--mode=import`."""

    RESUME: ClassVar[Resume] = "change"
    folder: str = option("", "diffusers folder to import")


@dataclass(frozen=True)
class MeshConfig:
    """The `mesh` part."""

    RESUME: ClassVar[Resume] = "change"
    data: int = option(-1, "devices along the batch; -1 = all that fsdp leaves", low=-1, high=2**20)
    fsdp: int = option(1, "devices that share parameters, EMA and optimizer state", low=1, high=2**20)


@dataclass(frozen=True)
class Config:
    """The whole configuration."""

    seed: int = option(0, "seed of the weights, the noise and the order of the data", low=0, high=SEED)
    method: str = option("ddpm", "generative model", choices=("ddpm", "wgan_gp"))
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
