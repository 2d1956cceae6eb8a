"""One model, one file, and the proof that both give the same vectors."""

import copy
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torchreid_daam.delivery import parity, precision, timing
from torchreid_daam.delivery.graph import (
    Embedding,
    Size,
    resized,
    to_onnx,
    to_torchscript,
)
from torchreid_daam.delivery.metadata import (
    describe,
    for_trackers,
    input_output,
    metadata_path,
)
from torchreid_daam.delivery.naming import file_name
from torchreid_daam.delivery.ranking import TestSet, mean_aps
from torchreid_daam.delivery.runtime import (
    Extractor,
    from_module,
    open_file,
    require_packages,
)
from torchreid_daam.errors import InputError, one_line
from torchreid_daam.model import DAAM
from torchreid_daam.randomness import key_generator
from torchreid_daam.runs.files import atomic, write_json

# Points of mAP by which a file may differ from its model.
MAX_CHANGE = {'fp32': 0.05, 'fp16': 0.3, 'int8': 1.0}
TIMED_BATCHES = (1, 32)


class Options(NamedTuple):
    """What is asked for; sizes are (height, width)."""

    run: str
    trained: Size
    incoming: Size
    format: str = 'onnx'
    precision: str = 'fp32'
    normalize: bool = False
    force: bool = False
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)


class Material(NamedTuple):
    """What the file is proved on.

    ``images`` are (N, 3, H, W) float32 of the target's training part, mean
    and std taken off, at the incoming size; None if there are none.
    """

    images: np.ndarray | None = None
    tests: Sequence[TestSet] = ()


class Exported(NamedTuple):
    """The file that was written and what its metadata says."""

    path: Path
    metadata: dict[str, Any]


def export(
    model: DAAM,
    folder: str | os.PathLike,
    options: Options,
    material: Material,
    facts: dict[str, Any],
) -> Exported:
    """Writes a model as a file once the file has proved itself.

    Args:
        model: in eval mode, on the CPU.
        folder: where the file and its metadata go.
        options: what is asked for.
        material: images for the proof; random ones are always added.
        facts: more entries of the metadata.

    Raises:
        InputError: if a name, a package or the folder won't do, or fewer
            bits change mAP by more than ``MAX_CHANGE`` without ``force``.
        ParityError: if the file does not answer as the model does. Nothing
            is written then, and an earlier file stays as it is.
    """
    backbone = model.backbone_name
    _check(options, material)
    name = file_name(backbone, options.run, options.precision, options.format)
    path = claimed(folder) / name
    reference = reference_of(model, options)
    content, plain = _build(model, options, material)
    try:
        exported = open_file(options.format, content)
    except Exception as error:  # each runtime has kinds of its own
        raise parity.ParityError(f'{name}: {one_line(error)}') from error
    pools = _pools(options, material)
    rows = parity.compare(reference, exported, pools, options.normalize)
    if options.precision == 'fp32':
        try:
            parity.check_tolerance(rows)
        except parity.ParityError as error:
            own = _own_rounding(model, reference, options, pools)
            raise parity.ParityError(
                f"{error}; the model's own float32 vectors differ by "
                f'{own:.1e} from its float64 ones'
            ) from None
    scores = _scores(reference, exported, material.tests)
    _check_scores(scores, options)
    metadata = describe(
        name,
        content,
        options.format,
        {
            'kind': options.format,
            'precision': options.precision,
            **for_trackers(backbone, options.incoming),
            'architecture': dict(model.architecture),
            **input_output(
                options.incoming,
                options.trained,
                model.architecture['embed_dim'],
                list(options.mean),
                list(options.std),
                options.normalize,
            ),
            **facts,
            'parity': [row._asdict() for row in rows],
            'mAP': scores,
            'forced': options.force,
        },
    )
    if plain is not None:
        metadata['against_fp32'] = _against(plain, exported, content, options)
    with atomic(path) as file:
        file.write(content)
    write_json(metadata_path(path), metadata)
    return Exported(path, metadata)


def reference_of(model: DAAM, options: Options) -> Extractor:
    """The model itself, by its own forward pass, as the file should be."""

    def forward(x):
        if options.incoming != options.trained:
            x = resized(x, options.trained)
        v = model(x)
        if options.normalize:
            v = v / v.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return v

    return from_module(forward)


def _own_rounding(
    model: DAAM,
    reference: Extractor,
    options: Options,
    pools: dict[str, np.ndarray],
) -> float:
    """What of a difference may be torch's own: float32 against float64."""
    double = reference_of(copy.deepcopy(model).double(), options)
    return max(
        float(
            np.abs(
                parity.unit(double(images.astype(np.float64)))
                - parity.unit(reference(images))
            ).max()
        )
        for images in pools.values()
    )


def claimed(folder: str | os.PathLike) -> Path:
    """A folder that can be written to, made if need be."""
    folder = Path(folder).expanduser()
    probe = folder / f'.{secrets.token_hex(4)}.tmp'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f'--output={folder}: {error.strerror}; a folder that can be '
            'written to is needed'
        ) from None
    return folder


def _check(options: Options, material: Material) -> None:
    if options.format == 'onnx':
        require_packages('onnx', 'onnxruntime')
    if options.precision == 'fp32':
        return
    key = f'--precision {options.precision}'
    if options.format != 'onnx':
        raise InputError(f'{key}: allowed with --format onnx alone')
    if options.precision == 'int8' and material.images is None:
        raise InputError(
            f"{key}: needs the target's training images to calibrate on, "
            'and they are not to be had'
        )
    if not material.tests and not options.force:
        raise InputError(
            f'{key}: no labelled images to measure the change of mAP on; '
            '--force writes the file unmeasured'
        )


def _build(
    model: DAAM, options: Options, material: Material
) -> tuple[bytes, bytes | None]:
    """The file, and the fp32 one it was made from where it is another."""
    resize_to = options.trained
    if options.incoming == options.trained:
        resize_to = None
    embedding = Embedding(model, resize_to, options.normalize)
    if options.format == 'torchscript':
        return to_torchscript(embedding, options.incoming), None
    plain = to_onnx(embedding, options.incoming)
    if options.precision == 'fp16':
        return precision.to_fp16(plain), plain
    if options.precision == 'int8':
        images = material.images[: precision.CALIBRATION_IMAGES]
        return precision.to_int8(plain, images), plain
    return plain, None


def _pools(options: Options, material: Material) -> dict[str, np.ndarray]:
    """Images for the comparison: noise of every pixel, and real ones."""
    shape = (max(parity.BATCHES), 3, *options.incoming)
    generator = key_generator('export', *options.incoming)
    pixels = generator.random(shape, np.float32)
    mean, std = (
        np.array(value, np.float32).reshape(3, 1, 1)
        for value in (options.mean, options.std)
    )
    pools = {'random': (pixels - mean) / std}
    if material.images is not None:
        pools['real'] = material.images[: max(parity.BATCHES)]
    return pools


def _scores(
    reference: Extractor, exported: Extractor, tests: Sequence[TestSet]
) -> list[dict[str, Any]]:
    rows = []
    for test in tests:
        model, file = mean_aps([reference, exported], test)
        rows.append(
            {
                'dataset': test.name,
                'model': model,
                'file': file,
                'change': file - model,
            }
        )
    return rows


def _check_scores(scores: list[dict[str, Any]], options: Options) -> None:
    allowed = MAX_CHANGE[options.precision]
    for row in scores:
        if abs(row['change']) <= allowed:
            continue
        text = (
            f'--precision {options.precision}: mAP on {row["dataset"]} '
            f'changes by {row["change"]:+.2f} points, at most {allowed:g} '
            'is allowed'
        )
        if options.precision == 'fp32':
            raise parity.ParityError(text)
        if not options.force:
            raise InputError(f'{text}; --force writes the file all the same')


def _against(
    plain: bytes, exported: Extractor, content: bytes, options: Options
) -> dict[str, Any]:
    """Size and speed beside the fp32 file."""
    pool = _pools(options, Material())['random']
    extractors = {'fp32': open_file('onnx', plain), 'file': exported}
    found: dict[str, Any] = {'bytes': [len(plain), len(content)]}
    for batch in TIMED_BATCHES:
        images = pool[np.arange(batch) % len(pool)]
        times = timing.measure(extractors, images)
        found[f'ms_batch_{batch}'] = [
            float(np.median(times[name])) for name in extractors
        ]
    return found
