"""Prepared TensorFlow Datasets, read by random access; TensorFlow itself is not needed."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from absl import logging
from google.protobuf.message import DecodeError

from microgen_jax.data.catalogue import Catalogue
from microgen_jax.data.decoding import BadFile, Header, header_of
from microgen_jax.data.leftovers import ALPHA
from microgen_jax.data.sources.file_tree import BROKEN, reason_of
from microgen_jax.data.sources.value_range import RANGE_SAMPLE, Range, parse_range, range_of, scaled
from microgen_jax.errors import UserError, did_you_mean

SPLITS = ("train", "test")  # where there is a test part, it is held out


def open_tfds(name: str, *, data_dir: str = "", value_range: str = "auto") -> Catalogue:
    """List the images of a prepared data set; class names and the test part are the data set's own.

    Every example is read once to learn its class, its image not decoded.

    Args:
      name: name of the data set, as in 'mnist', 'cifar10' or 'builder/config'.
      data_dir: folder where it was prepared; '' = ~/tensorflow_datasets.
      value_range: auto | ids | 'low,high' (see `value_range`).

    Raises:
      UserError: no such data set, one without images, or one that is not prepared for random access.
    """
    if not name:
        raise UserError("name", "is empty, and a tfds data set needs one", "as in --config.data.name=mnist")
    tfds = _library()
    builder = _builder(tfds, name, data_dir)
    features = builder.info.features
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    if not images:
        raise UserError("name", f"{name} has no images; its features are {', '.join(features)}")
    label_key = next((k for k, f in features.items() if isinstance(f, tfds.features.ClassLabel)), "")
    parts = [split for split in SPLITS if split in builder.info.splits] or ["train"]
    sources = {part: _source(builder, part, name) for part in parts}
    where = [(part, i) for part in parts for i in range(len(sources[part]))]
    labels = [name] * len(where)
    scalars = [key for key, feature in features.items() if key != label_key and _is_scalar(feature)]
    columns: dict[str, list[str]] = {key: [] for key in scalars}
    if label_key or scalars:
        skipped = {key: tfds.decode.SkipDecoding() for key in images}
        examples = (_undecoded(sources[part], i, skipped, name) for part, i in where)
        for n, example in enumerate(examples):
            if label_key:
                labels[n] = features[label_key].names[int(example[label_key])]
            for key in scalars:
                columns[key].append(_text(example[key]))

    def stored(index: int) -> np.ndarray:
        part, i = where[index]
        try:
            image = np.asarray(sources[part][i][images[0]])
        except (*BROKEN, DecodeError) as error:
            raise BadFile(f"cannot be read ({reason_of(error)})") from error
        return image[..., :3] if image.ndim == 3 else image[..., None]

    values = _range(stored, len(where), value_range, f"tfds:{name}")

    def read(index: int) -> np.ndarray:
        return scaled(stored(index), values)

    return Catalogue(
        kind="tfds",
        root=f"tfds:{name}",
        names=[f"{part}[{i}]" for part, i in where],
        labels=labels,
        headers=_headers(features[images[0]].shape, len(where), read),
        sizes=[0] * len(where),
        read=read,
        columns={**columns, "part": [part for part, _ in where]},
        serving=("part",),
        notes=(
            f"images are {images[0]!r}, classes are {label_key or 'the data set'!r}",
            f"numbers are read as {values}",
        ),
        unused=_unused(builder, parts, [images[0], label_key, *scalars]),
        held_out=np.array([part == "test" for part, _ in where]) if len(parts) == 2 else None,
        held_out_notes=("the data set's own test part is held out",),
    )


def _range(stored: Callable[[int], np.ndarray], count: int, value_range: str, where: str) -> Range:
    """Return the range of the numbers, found from some images spread over the data set."""
    seen = [stored(n) for n in range(0, count, -(-count // RANGE_SAMPLE))]

    def extremes() -> tuple[float, float]:
        return min(float(image.min()) for image in seen), max(float(image.max()) for image in seen)

    try:
        return range_of(parse_range(value_range), seen[0].dtype, extremes)
    except BadFile as error:
        raise UserError(where, str(error)) from error


def _is_scalar(feature: Any) -> bool:
    return tuple(feature.shape or ()) == () and np.dtype(feature.np_dtype).kind in "biufO"


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _unused(builder: Any, parts: Sequence[str], used: Sequence[str]) -> tuple[str, ...]:
    """Name splits and features that are not read."""
    splits = [f"the split {name!r}" for name in builder.info.splits if name not in parts]
    features = builder.info.features
    left = [
        f"the feature {key!r} ({type(feature).__name__})"
        for key, feature in features.items()
        if key not in used
    ]
    channels = (features[used[0]].shape or (0,))[-1]
    return (*splits, *left, *([ALPHA] if channels == 4 else []))


def prepared_in(name: str, data_dir: str = "") -> Path:
    """Return the folder of a prepared data set."""
    with _quiet():
        return Path(_builder(_library(), name, data_dir).data_path)


def _library() -> ModuleType:
    """Import the library, on demand: it takes seconds."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        problem = "'tfds' needs tensorflow-datasets, which is not installed"
        raise UserError("source", problem, "pip install tensorflow-datasets") from error
    return tensorflow_datasets


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library, which logs about every folder that it does not find."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _builder(tfds: ModuleType, name: str, data_dir: str) -> Any:
    with _quiet():
        try:
            return tfds.builder(name, data_dir=data_dir or None, file_format="array_record")
        except (ValueError, ImportError, FileNotFoundError) as error:
            near = did_you_mean(name, tfds.list_builders(with_community_datasets=False)).strip()
            raise UserError("name", f"{name!r} is no data set of tfds", near) from error


def _source(builder: Any, part: str, name: str) -> Sequence:
    try:
        with _quiet():
            return builder.as_data_source(part)
    except (NotImplementedError, AssertionError, KeyError, ValueError, OSError) as error:
        mend = f"tfds build {name} --file_format=array_record"
        if importlib.util.find_spec("tensorflow") is None:
            mend = f"pip install tensorflow && {mend}"
        problem = f"{name} is not prepared in {builder.data_path}"
        raise UserError("name", problem, f"where there is a network, run: {mend}") from error


def _undecoded(source: Any, index: int, skipped: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an example whose images are not decoded."""
    try:
        record = source.data_source[index]
        return source.dataset_info.features.deserialize_example_np(record, decoders=skipped)
    except (*BROKEN, DecodeError) as error:
        problem = f"example {index} of {name} cannot be read ({reason_of(error)})"
        raise UserError("name", problem, "prepare the data set anew") from error


def _headers(shape: tuple, count: int, read: Callable[[int], np.ndarray]) -> list[Header]:
    """Return headers by the data set's own description, or from every image where that leaves the sizes open."""
    if None in shape:
        return [header_of(read(index)) for index in range(count)]
    height, width, channels = shape if len(shape) == 3 else (*shape, 1)
    return [Header(height, width, min(channels, 3), read(0).dtype.name)] * count
