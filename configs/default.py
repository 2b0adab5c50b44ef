"""Every field, its default and what it does. The other configs start from this one and change some.

    python main.py --config=configs/default.py --workdir=runs/default

Any field can be set on the command line: `--config.train.steps=100 --config.data.size='(64,96)'`. This file is written
by `python -m microgen_jax.config.default_file` from microgen_jax/config/schema.py.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration."""
    config = ConfigDict()
    config.seed = 0  # seed of the weights, the noise and the order of the data
    config.method = "ddpm"  # generative model: ddpm | wgan_gp

    config.data = data = ConfigDict()
    # kind of the data set: auto | polycrystal | folder | list | hdf5 | npz | tfds | ebsd
    data.source = "auto"
    data.root = ""  # folder, .zip, list, .npz, .h5 or scan; of tfds the data_dir; '' = polycrystals
    data.name = ""  # tfds: name of the data set, as in 'mnist' or 'builder/config'
    data.key = ""  # hdf5, npz: name of the array that holds the images; '' = the first that fits
    # hdf5, npz: axes of that array (N and K count images, C channels): auto | HW | NHW | HWK | HWC | NHWC |
    # CHW | NCHW
    data.layout = "auto"
    # range of the values: auto | 'black,white' as in '0,4095' | ids (grain ids, shown as boundaries)
    data.value_range = "auto"
    data.max_pixels = 134_217_728  # greatest number of pixels of an image, against decompression bombs
    data.size = (64, 64)  # height and width of the model's images in px
    data.channels = 3  # 3 = RGB, 1 = grey; of the polycrystals 3 = IPF colours, 1 = grain boundaries
    data.to_grey = False  # luminance of colour images where channels=1, instead of refusing them
    # resampling (none: original pixel size; nearest, area: fitted short side): none | nearest | area |
    # stretch
    data.resample = "none"
    # treatment of images smaller than size (background: median of the border): reflect | background | refuse
    data.pad = "reflect"
    data.augment = True  # flips and quarter turns that symmetry and ipf_direction allow
    # symmetry of the process: all | orthotropic | monoclinic | none, or by class 'Shear=none,Tension=all'
    data.symmetry = "all"
    # sample direction of the IPF colours: X | Y | Z | 'x,y,z' | XYZ (nine channels); '' = no IPF map
    data.ipf_direction = "Z"
    # form of what is generated (auto: orientations of EBSD scans, unless colours are asked for): auto | image
    # | orientation
    data.representation = "auto"
    data.colour_key = "tsl"  # ebsd: colour key of the IPF maps: tsl | edax
    data.laue_group = ""  # ebsd: Laue group of phases for which the file names none, as in 'm-3m'
    # position of the window in larger images (grid: all windows of a grid, each an image): random | grid
    data.window = "random"
    data.tile_overlap = 0.5  # ebsd, and window=grid: share of its side that a tile shares with the next
    data.min_indexed = 0.9  # ebsd: least share of indexed points in a tile
    # ebsd: least confidence index (EDAX), or largest MAD in degrees (Oxford), of a point; 0 = off
    data.min_confidence = 0.0
    # pixel size of the model's images in um, for lengths in reports; 0 = that of the scans
    data.pixel_size_um = 0.0
    data.fill_unindexed = "nearest"  # ebsd: colour of unindexed points: nearest | black
    data.filename_pattern = ""  # regex whose named groups become columns: conditions, class or split
    data.label_by = ""  # column (of list, metadata.csv, filename_pattern) of the class; '' = the folder
    data.conditions = ()  # columns of the continuous conditions; of the polycrystals, names of descriptors
    data.split_by = ""  # column whose equal values stay on one side of the split; '' = no groups
    data.holdout = 0.1  # share of the groups held out of training; one at least, never all of a class
    # treatment of unreadable files (skip: --mode=inspect lists them): raise | skip
    data.on_bad_file = "raise"
    data.count = 10_000  # polycrystal: number of different images
    data.cache = ""  # folder for decoded images, written once, then mapped into memory; '' = off
    data.workers = 4  # threads that decode and augment
    data.read_timeout = 300.0  # seconds without a batch after which the run stops with status 75

    config.model = model = ConfigDict()
    model.channels = (64, 128, 256)  # channels of each level; each level halves height and width
    model.values_channels = ()  # channels of each level of a second stage's network; () = as channels
    model.blocks_per_level = 2  # residual blocks of each level
    # levels with self-attention after each block, as in (False,True,True); () = the lowest only
    model.attention_levels = ()
    model.mid_attention = True  # self-attention between the two blocks of the middle
    model.head_dim = 64  # channels of an attention head
    model.norm_groups = 32  # groups of every GroupNorm; divides each level's channels
    model.dropout = 0.0  # dropout rate in the residual blocks
    model.dtype = "float32"  # precision inside the network; parameters stay float32: float32 | bfloat16
    model.remat = ()  # levels recomputed in the backward pass to save memory, one entry each; () = none

    config.diffusion = diffusion = ConfigDict()
    diffusion.timesteps = 1000  # number of noise levels
    diffusion.schedule = "linear"  # noise schedule: linear | cosine | sigmoid
    diffusion.beta_start = 0.0001  # first beta of linear and sigmoid
    diffusion.beta_end = 0.02  # last beta of linear and sigmoid
    diffusion.zero_terminal_snr = False  # pure noise at the last time; not with prediction eps
    diffusion.prediction = "eps"  # quantity that the network predicts: eps | x0 | v
    diffusion.loss = "mse"  # loss (bce: binary images with x0): mse | huber | l1 | bce
    diffusion.weighting = "uniform"  # weighting over time: uniform | min_snr | p2 | vlb
    # sampling of times (stratified over the batch; importance: by the loss): uniform | stratified |
    # importance
    diffusion.time_sampling = "uniform"
    diffusion.condition_dropout = 0.1  # share of labels, and of each condition, hidden in training
    diffusion.given_noise = 0.2  # largest noise, in training, on the channels that a later stage is given

    config.wgan = wgan = ConfigDict()
    wgan.n_critic = 5  # critic updates to one of the generator; a step reads as many minibatches
    wgan.gp_weight = 10.0  # weight of the gradient penalty
    wgan.latent_dim = 100  # length of a latent vector
    wgan.width = 64  # channels at full size, doubled at each level up to eightfold
    wgan.critic_learning_rate = 0.0004  # critic's learning rate; train.learning_rate is the generator's
    wgan.conditional = True  # class as an input of both networks, if there are several

    config.train = train = ConfigDict()
    train.steps = 100_000  # number of updates
    # length of the learning-rate schedule in updates; 0 = train.steps of the first start
    train.schedule_steps = 0
    train.batch_size = 16  # images of an update on all devices; of wgan_gp each critic update's
    train.learning_rate = 0.0002  # learning rate at the end of the warm-up
    train.lr_schedule = "cosine"  # learning rate after the warm-up: cosine | constant
    train.warmup_steps = 500  # updates of linear warm-up
    train.weight_decay = 0.01  # AdamW's weight decay of kernels and tables
    train.clip_norm = 1.0  # greatest global norm of the gradient; 0 = off
    train.ema_decay = 0.9999  # decay of the averaged parameters (EMA), with which images are sampled
    # relative widths of further averages, as in (0.05,0.1), from which sample.ema makes others
    train.ema_widths = ()
    train.accumulate = 1  # micro-batches summed into one update
    train.log_every = 100  # updates between lines of the log
    train.sample_every = 5000  # updates between grids; 0 = never
    train.sample_num = 16  # images in a progress grid
    train.eval_every = 1000  # updates between hold-out losses; 0 = never
    train.eval_num = 512  # hold-out images for eval_every; 0 = all
    train.eval_samples = 64  # images sampled at the same time, in 25 steps, for the quality ratios; 0 = none
    train.checkpoint_every = 1000  # updates between checkpoints
    train.skip_batches = ()  # numbers of batches to skip, as a diverged run prints them
    train.keep = 3  # newest checkpoints kept, beside the best
    train.profile = 0  # updates to trace for TensorBoard; 0 = none

    config.sample = sample = ConfigDict()
    # sampler: ancestral | ancestral_large | ddim | euler | heun | dpmpp2m | dpmpp2m_sde | unipc
    sample.sampler = "ancestral"
    sample.steps = 1000  # sampling steps, diffusion.timesteps at most
    sample.eta = 0.0  # ddim: share of new noise; 0 = deterministic, 1 = ancestral
    # spacing of the steps (auto: that of the sampler in docs/samplers.md): auto | trailing | linspace |
    # leading | karras
    sample.spacing = "auto"
    sample.clip = True  # clipping of the predicted x0 to [-1, 1]
    sample.clip_percentile = 0.0  # percentile of |x0| for dynamic thresholding, 1 or more; 0 = plain clipping
    sample.guidance = 1.0  # scale of classifier-free guidance; 1 = off
    # two noise levels sigma/alpha between which guidance acts, as in (0.3,5.0); () = all
    sample.guidance_interval = ()
    sample.guidance_rescale = 0.0  # share by which the guided standard deviation returns to the unguided
    # factor of the predicted noise; 1.03 to 1.06 for few steps of a briefly trained network
    sample.eps_scale = 1.0
    # step of an earlier checkpoint to guide by, instead of hidden conditions; '' = off
    sample.autoguidance = ""
    sample.num = 16  # number of images
    sample.frames = 0  # frames of denoising.gif and denoising.png, from noise to image; 0 = neither
    sample.trajectory_times = ()  # times shown in trajectory.png, as in (999,600,300,100,0); () = no file
    sample.batch_size = 16  # images of a batch on each device
    sample.seed = 0  # seed of the images
    sample.label = ""  # class by name or number; '' = every class in turn
    sample.condition = ""  # conditions as JSON, as in '{"grain_diameter": 12}'
    sample.checkpoint = "newest"  # checkpoint: newest | best (by hold-out loss) | a step
    sample.ema = 0.0  # relative width of an average of all kept checkpoints; 0 = that of train.ema_decay
    # orientations of a sample (grains: one for each grain, as auto; none: each pixel's own): auto | none |
    # grains
    sample.reconstruct = "auto"
    # formats of the samples (of scans: maps/, of orientation models): png | npz | ctf | ang | h5oina |
    # dream3d | vti | damask
    sample.formats = ("png", "npz")
    sample.name = "default"  # name of the folder under samples/

    config.evaluate = evaluate = ConfigDict()
    evaluate.real = ""  # folder, npz, ... of real images; '' = the run's hold-out
    evaluate.generated = ""  # folder, npz, ..., or a name under the run's samples/; '' = new samples
    evaluate.num = 1000  # greatest number of images of each side
    evaluate.metrics = ()  # names of the metrics; () = all available
    evaluate.inception_weights = ""  # path of pt_inception-2015-12-05-6726825d.pth, for FID, KID and IS
    evaluate.inception_preprocessing = "pytorch"  # resampling of images to 299 px: pytorch | tensorflow
    evaluate.copy_search_num = 10_000  # training images searched for copies; 0 = all
    evaluate.pixel_size_um = 0.0  # micrometres of a pixel, for lengths; 0 = the data's
    evaluate.laue_group = ""  # Laue group of the IPF colours; '' = that of the data, else m-3m
    evaluate.seed = 0  # seed of the sampled images, the splits and the resamples

    config.plan = plan = ConfigDict()
    plan.devices = (1, 8, 64, 256)  # numbers of devices, each with train.batch_size images
    plan.chip = "h200"  # kind of device: a100 | h100 | h200 | tpu_v4 | tpu_v5e | tpu_v5p | tpu_v6e
    plan.memory_gb = 0.0  # memory of a device in GB; 0 = the chip's
    plan.utilisation = 0.4  # share of the peak rate that convolutions reach
    plan.channels = 3  # channels of the images, as no data is opened
    plan.classes = 5  # number of classes
    plan.conditions = 0  # number of continuous conditions

    config.export = export = ConfigDict()
    # format of export/<format>/ (diffusers: PyTorch; stablehlo: jax.export): diffusers | stablehlo
    export.format = "diffusers"

    config.import_run = import_run = ConfigDict()
    import_run.folder = ""  # diffusers folder to import

    config.mesh = mesh = ConfigDict()
    mesh.data = -1  # devices along the batch; -1 = all that fsdp leaves
    mesh.fsdp = 1  # devices that share parameters, EMA and optimizer state
    return config
