"""Every field, its default and what it does. The other configs start from this one and change some.

    python main.py --config=configs/default.py --workdir=runs/default

Any field can be set on the command line: `--config.train.steps=100 --config.data.size='(64,96)'`. This file is written
by `python -m microgen_jax.config.default_file` from microgen_jax/config/schema.py.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0  # seed of the weights, the noise and the order of the data
    config.method = "ddpm"  # ddpm | wgan_gp

    config.data = data = ConfigDict()
    data.source = "auto"  # auto | polycrystal | folder | list | hdf5 | npz | tfds | ebsd
    data.root = ""  # folder, .zip, list, .npz, .h5, scan; where tfds prepared; '' = the polycrystals
    data.name = ""  # tfds: the data set, as in 'mnist' or 'builder/config'
    data.key = ""  # hdf5, npz: which array holds the images; '' = the first one that can
    data.layout = "auto"  # hdf5, npz: HW | NHW | HWK | HWC | NHWC, N and K count images, C channels
    data.value_range = "auto"  # hdf5, npz: 'black,white' as in '0,255' | ids = grain ids, drawn as boundaries
    data.size = (64, 64)  # height, width in px that the model sees
    data.channels = 3  # 3 = RGB, 1 = grey; of the polycrystals 3 = IPF colours, 1 = grain boundaries
    data.to_grey = False  # with channels=1: colour images become their luminance instead of being refused
    data.resample = "none"  # none = original pixel size | nearest, area: fit the short side | stretch
    data.pad = "reflect"  # images smaller than size: reflect | background = median of the border | refuse
    data.augment = True  # flips and quarter turns that keep the images true (see symmetry)
    # of the process: all | orthotropic | monoclinic | none, or 'Shear=none,Tension=all'
    data.symmetry = "all"
    data.ipf_direction = "Z"  # of the colours: X | Y | Z | 'x,y,z' | XYZ = nine channels | '' = no IPF map
    data.ebsd = "ipf"  # ebsd: ipf = colours | quaternions = orientations in four channels (docs/data.md)
    data.colour_key = "tsl"  # ebsd: tsl | edax
    data.laue_group = ""  # ebsd: of phases for which the file names none, as in 'm-3m'
    # window of larger images: random | grid = every one on a grid, an image for itself
    data.window = "random"
    # ebsd, and window=grid: share of its side that a tile has in common with the next one
    data.tile_overlap = 0.5
    data.min_indexed = 0.9  # ebsd: least share of indexed points in a tile
    data.fill_unindexed = "nearest"  # ebsd: points that are not indexed: nearest indexed one | black
    data.filename_pattern = ""  # regex; its named groups become conditions or the split group
    data.label_by = ""  # column (list, metadata.csv, filename_pattern) that names the class; '' = the folder
    data.conditions = ()  # continuous ones: columns as for label_by, or descriptors of the polycrystals
    data.split_by = ""  # column, as for label_by, that a split keeps together; '' = every image for itself
    data.holdout = 0.1  # share of the groups kept out of training; at least one, never all of a class
    data.on_bad_file = "raise"  # raise | skip (counted and listed by --mode=inspect)
    data.count = 10_000  # polycrystal: how many different images there are
    data.cache = ""  # folder for decoded images, written once and then mapped into memory; '' = off
    data.workers = 4  # threads that decode and augment
    data.read_timeout = 300.0  # seconds without a batch after which it is read again, three times at most

    config.model = model = ConfigDict()
    model.channels = (64, 128, 256)  # per level; each level halves height and width
    model.blocks_per_level = 2  # residual blocks
    model.attention_levels = (False, False, True)  # self-attention after each block of a level
    model.mid_attention = True  # self-attention between the two blocks of the middle
    model.head_dim = 64  # channels per attention head
    model.norm_groups = 32  # groups of every GroupNorm; divides every level's channels
    model.dropout = 0.0
    model.dtype = "float32"  # float32 | bfloat16: inside the network; parameters stay float32
    model.remat = (False, False, False)  # per level: save memory, recompute in the backward pass

    config.diffusion = diffusion = ConfigDict()
    diffusion.timesteps = 1000
    diffusion.schedule = "linear"  # linear | cosine | sigmoid
    diffusion.beta_start = 0.0001  # linear and sigmoid
    diffusion.beta_end = 0.02  # linear and sigmoid
    diffusion.zero_terminal_snr = False  # leave nothing of the image at the last time; not with eps
    diffusion.prediction = "eps"  # eps | x0 | v
    diffusion.loss = "mse"  # mse | huber | l1 | bce (binary images, prediction x0)
    diffusion.weighting = "uniform"  # uniform | min_snr | p2 | vlb
    diffusion.time_sampling = "uniform"  # uniform | stratified over the batch | importance, by the loss
    diffusion.condition_dropout = 0.1  # share of the labels, and of each condition, hidden in training

    config.wgan = wgan = ConfigDict()
    wgan.n_critic = 5  # updates of the critic to one of the generator; a step reads as many minibatches
    wgan.gp_weight = 10.0  # of the gradient penalty
    wgan.latent_dim = 100  # length of a latent vector
    wgan.width = 64  # channels beside the image; twice as many a level further in, eight times at most
    wgan.critic_learning_rate = 0.0004  # train.learning_rate is the generator's
    wgan.conditional = True  # tell both networks the class, where there are more than one

    config.train = train = ConfigDict()
    train.steps = 100_000  # updates
    train.schedule_steps = 0  # end of the learning-rate schedule; 0 = train.steps of the first start
    train.batch_size = 16  # global; of wgan_gp each critic update's
    train.learning_rate = 0.0002
    train.lr_schedule = "cosine"  # cosine | constant, after the warm-up
    train.warmup_steps = 500
    train.weight_decay = 0.01  # AdamW; kernels and tables only
    train.clip_norm = 1.0  # global gradient norm; 0 = off
    train.ema_decay = 0.9999  # of the averaged parameters, which everything is drawn with
    train.ema_widths = ()  # of further averages, (0.05, 0.1): sample.ema makes any width of them afterwards
    train.accumulate = 1  # micro-batches summed into one update
    train.log_every = 100
    train.sample_every = 5000  # a grid of the same seeds; 0 = never
    train.sample_num = 16  # images in that grid
    train.eval_every = 1000  # held-out loss; 0 = never
    train.eval_num = 512  # held-out images that it is taken over; 0 = all
    train.eval_samples = 64  # images drawn in 25 steps with it, for the ratios called quality; 0 = none
    train.checkpoint_every = 1000
    train.skip_batches = ()  # numbers of batches to pass over, as a run that diverged names them
    train.keep = 3  # newest checkpoints kept, beside the best
    train.profile = 0  # number of updates to trace for TensorBoard's profiler; 0 = none

    config.sample = sample = ConfigDict()
    sample.sampler = "ancestral"  # or ancestral_large, ddim, euler, heun, dpmpp2m, dpmpp2m_sde, unipc
    sample.steps = 1000  # of the sampler, diffusion.timesteps at most
    sample.eta = 0.0  # ddim: 0 = deterministic, 1 = ancestral
    sample.spacing = "auto"  # of the steps: trailing | linspace | leading | karras; auto suits the sampler
    sample.clip = True  # clip the predicted x0 to [-1, 1]
    sample.clip_percentile = 0.0  # of |x0|, for dynamic thresholding; 0 = plain clipping
    sample.guidance = 1.0  # classifier-free guidance; 1 = off
    sample.guidance_interval = ()  # noise levels sigma/alpha between which it holds; () = all
    sample.guidance_rescale = 0.0  # share of the standard deviation that guidance gives back
    # times the predicted noise; 1.03 to 1.06 for few steps of a network trained briefly
    sample.eps_scale = 1.0
    sample.autoguidance = ""  # a step: guide by this earlier checkpoint, not by hiding conditions; '' = off
    sample.num = 16
    sample.frames = 0  # of denoising.gif and denoising.png, from noise to image; 0 = neither
    sample.trajectory_times = ()  # times shown in stills.png, as in (999,600,300,100,0); () = no such file
    sample.batch_size = 16  # per device
    sample.seed = 0
    sample.label = ""  # class by name or number; '' = every class in turn
    sample.condition = ""  # JSON text: '{"grain_diameter": 12}'
    sample.checkpoint = "newest"  # newest | best (by held-out loss) | a step
    sample.ema = 0.0  # relative width of the average, from all kept checkpoints; 0 = by train.ema_decay
    sample.name = "default"  # of the folder under samples/

    config.evaluate = evaluate = ConfigDict()
    evaluate.real = ""  # folder, npz, ...: images to compare with; '' = the run's held-out ones
    # folder, npz, ..., or a name under the run's samples/; '' = drawn from the run for this
    evaluate.generated = ""
    evaluate.num = 1000  # images of either side, at most
    evaluate.metrics = ()  # names of those wanted; () = all that the images allow
    evaluate.inception_weights = ""  # pt_inception-2015-12-05-6726825d.pth, for FID, KID and IS
    evaluate.inception_preprocessing = "pytorch"  # pytorch | tensorflow: how images come to 299 px
    evaluate.copy_search_num = 10_000  # training images searched for copies; 0 = all
    evaluate.pixel_size_um = 1.0  # micrometres of a pixel, for ASTM grain size numbers
    evaluate.laue_group = "m-3m"  # of the sector in which IPF colours are compared
    evaluate.seed = 0  # of the images drawn, the splits and the resamples

    config.plan = plan = ConfigDict()
    plan.devices = (1, 8, 64, 256)  # numbers to plan for; each device has train.batch_size images
    plan.chip = "h200"  # a100 | h100 | h200 | tpu_v4 | tpu_v5e | tpu_v5p | tpu_v6e
    plan.utilisation = 0.4  # share of the chip's published peak that convolutions are taken to reach
    plan.channels = 3  # of the images, as no data is opened
    plan.classes = 5
    plan.conditions = 0

    config.export = export = ConfigDict()
    export.format = "diffusers"  # diffusers (PyTorch) | stablehlo (jax.export), into export/<format>/

    config.import_run = import_run = ConfigDict()
    import_run.folder = ""  # the diffusers folder that is imported

    config.mesh = mesh = ConfigDict()
    mesh.data = -1  # devices along the batch; -1 = all that fsdp leaves
    mesh.fsdp = 1  # devices that share parameters, EMA and optimizer state
    return config
