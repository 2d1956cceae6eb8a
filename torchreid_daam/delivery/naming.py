"""File names of exports: BoxMOT and its like read more out of them."""

import re

from torchreid_daam.delivery.runtime import SUFFIXES
from torchreid_daam.errors import InputError

# Without a fixed size in the graph, BoxMOT takes crops of 256 x 256 for
# files with one of these in their name.
VEHICLES = ('veri', 'vehicleid')
# Backbones that BoxMOT 25.0.0 and torchreid both know by these names. A
# tracker may look for the longest of them in a file's name.
BOXMOT_BACKBONES = (
    'hacnn',
    'mlfn',
    'mobilenetv2_x1_0',
    'mobilenetv2_x1_4',
    'osnet_ain_x0_25',
    'osnet_ain_x0_5',
    'osnet_ain_x0_75',
    'osnet_ain_x1_0',
    'osnet_ibn_x1_0',
    'osnet_x0_25',
    'osnet_x0_5',
    'osnet_x0_75',
    'osnet_x1_0',
    'resnet101',
    'resnet152',
    'resnet18',
    'resnet34',
    'resnet50',
    'resnet50_fc512',
    'resnext101_32x8d',
    'resnext50_32x4d',
)
# Names of BoxMOT alone that would be found as well.
_OTHERS = ('lmbn_n', 'lmbn_ain_n', 'hi_afa', 'csl_tinyvit', 'mobilenetv4')


def file_name(
    backbone: str, run: str, precision: str = 'fp32', format_: str = 'onnx'
) -> str:
    """``<backbone>_daam_<run>.onnx``, with ``_fp16`` or ``_int8`` after it.

    Args:
        backbone: torchreid's name of it.
        run: the run's name; what is no letter, digit, ``.``, ``_`` or
            ``-`` becomes ``-``.
        precision: of the file.
        format_: ``onnx`` or ``torchscript``.

    Raises:
        InputError: if a tracker would read something wrong out of the name.
    """
    tidy = re.sub(r'[^A-Za-z0-9._-]+', '-', run).strip('.-_')
    if not tidy:
        raise InputError(f'--name={run!r}: letters or digits are needed')
    misleading = [
        word for word in VEHICLES + _OTHERS if word in tidy.lower()
    ] + [
        name
        for name in BOXMOT_BACKBONES
        if name in tidy.lower() and name not in backbone
    ]
    if misleading:
        raise InputError(
            f'--name={tidy}: {misleading[0]} in a file name misleads '
            'trackers that guess from it; choose another with --name'
        )
    suffix = '' if precision == 'fp32' else f'_{precision}'
    return f'{backbone}_daam_{tidy}{suffix}{SUFFIXES[format_]}'
