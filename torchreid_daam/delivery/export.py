"""One model, one file, and the proof that both give the same vectors."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torchreid_daam.delivery import parity, precision, timing
from torchreid_daam.delivery.graph import (
    Embedding,
    to_onnx,
    to_torchscript,
)
from torchreid_daam.delivery.metadata import (
    describe,
    differences,
    for_trackers,
    input_output,
)
from torchreid_daam.delivery.naming import file_name
from torchreid_daam.delivery.proof import (
    Material,
    Options,
    check_scores,
    image_pools,
    own_rounding,
    reference_of,
    scores_of,
)
from torchreid_daam.delivery.publish import claimed, publish
from torchreid_daam.delivery.runtime import (
    Extractor,
    open_file,
    require_packages,
)
from torchreid_daam.errors import InputError, one_line
from torchreid_daam.model import DAAM

TIMED_BATCHES = (1, 32)


class Exported(NamedTuple):
    """The file that was written and what its metadata says.

    ``changes`` are those against an earlier file of the same name.
    """

    path: Path
    metadata: dict[str, Any]
    changes: list[str]


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
        material: images for the proof and for int8's ranges; random ones
            are always added to the proof.
        facts: more entries of the metadata.

    Raises:
        InputError: if a name, a package or the folder won't do, or fewer
            bits change mAP by more than ``MAX_CHANGE`` without ``force``.
        ParityError: if the file does not answer as the model does. Nothing
            is written then, and an earlier file stays as it is.
    """
    backbone = model.backbone_name
    path = ready(backbone, folder, options)
    name = path.name
    _check(options, material)
    reference = reference_of(model, options)
    content, plain = _build(model, options, material)
    try:
        exported = open_file(options.format, content)
    except Exception as error:  # each runtime has kinds of its own
        raise parity.ParityError(f'{name}: {one_line(error)}') from error
    pools = image_pools(options, material)
    rows = parity.compare(reference, exported, pools, options.normalize)
    if options.precision == 'fp32':
        try:
            parity.check_tolerance(rows)
        except parity.ParityError as error:
            own = own_rounding(model, reference, options, pools)
            raise parity.ParityError(
                f"{error}; the model's own float32 vectors differ by "
                f'{own:.1e} from its float64 ones'
            ) from None
    scores = scores_of(reference, exported, material.tests)
    check_scores(scores, options)
    metadata = describe(
        name,
        content,
        options.format,
        {
            'kind': options.format,
            'precision': options.precision,
            **for_trackers(
                backbone, options.incoming, options.mean, options.std
            ),
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
            # There is nothing to force where nothing is rounded.
            'forced': options.force and options.precision != 'fp32',
        },
    )
    if options.precision == 'int8':
        metadata['calibration_images'] = len(material.calibration)
    if plain is not None:
        metadata['against_fp32'] = _against(plain, exported, content, options)
    changes = differences(path, metadata)
    publish(path, content, metadata)
    return Exported(path, metadata, changes)


def ready(backbone: str, folder: str | os.PathLike, options: Options) -> Path:
    """Where the file will lie, once all that needs no image is checked.

    Raises:
        InputError: if the name, a package, the format or the folder won't
            do.
    """
    name = file_name(backbone, options.run, options.precision, options.format)
    if options.format == 'onnx':
        require_packages('onnx', 'onnxruntime')
    elif options.precision != 'fp32':
        raise InputError(
            f'--precision {options.precision}: allowed with --format onnx '
            'alone'
        )
    return claimed(folder) / name


def _check(options: Options, material: Material) -> None:
    if options.precision == 'fp32':
        return
    key = f'--precision {options.precision}'
    if options.precision == 'int8' and material.calibration is None:
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
        return precision.to_int8(plain, material.calibration), plain
    return plain, None


def _against(
    plain: bytes, exported: Extractor, content: bytes, options: Options
) -> dict[str, Any]:
    """Size and speed beside the fp32 file."""
    pool = image_pools(options, Material())['random']
    extractors = {'fp32': open_file('onnx', plain), 'file': exported}
    found: dict[str, Any] = {'bytes': [len(plain), len(content)]}
    for batch in TIMED_BATCHES:
        images = pool[np.arange(batch) % len(pool)]
        times = timing.measure(extractors, images)
        found[f'ms_batch_{batch}'] = [
            float(np.median(times[name])) for name in extractors
        ]
    return found
