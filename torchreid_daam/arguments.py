"""What the commands are given: arguments, and the settings they make."""

import argparse
import logging
from collections.abc import Mapping

from yacs.config import CfgNode as CN

from torchreid_daam import use
from torchreid_daam.config import (
    flatten,
    get_default_config,
    merge_file,
    merge_options,
)
from torchreid_daam.delivery.precision import PRECISIONS
from torchreid_daam.delivery.runtime import SUFFIXES
from torchreid_daam.errors import InputError


def add_adapt(parser: argparse.ArgumentParser) -> None:
    """Of ``adapt``."""
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='show settings, data, steps and expected time; train nothing',
    )
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Of commands that take the settings of a run."""
    add = parser.add_argument
    add('--config-file', default='', help='YAML file of settings')
    add('-s', '--sources', nargs='+', help='labelled data sets')
    add('-t', '--targets', nargs='+', help='unlabelled data sets')
    add('--source-folder', help='labelled images, a subfolder per identity')
    add('--target-folder', nargs='+', help='unlabelled images, any tree')
    add('--transforms', nargs='+', help='augmentation')
    add('--root', default='', help='folder of the data sets')
    _add_pairs(parser)


def _add_pairs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'opts',
        nargs=argparse.REMAINDER,
        help='settings as pairs: train.lr 0.01 ...; see docs/config.md',
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--model', required=True, help="a run's folder, or a checkpoint"
    )


def add_extract(parser: argparse.ArgumentParser) -> None:
    """Of ``extract``."""
    _add_model(parser)
    add = parser.add_argument
    add('--images', nargs='+', required=True, help='folders or files')
    add('--out', required=True, help='a file, .npz or .csv')
    _add_pairs(parser)


def add_search(parser: argparse.ArgumentParser) -> None:
    """Of ``search``."""
    _add_model(parser)
    add = parser.add_argument
    add('--query', nargs='+', required=True, help='images or folders')
    add('--gallery', nargs='+', required=True, help='images or folders')
    add('--out', required=True, help='folder of table, JSON and picture')
    add('--top', type=int, default=10, help='matches for a query')
    _add_pairs(parser)


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """Of ``calibrate``."""
    _add_model(parser)
    parser.add_argument(
        '--far', type=float, default=0.01, help='wished false-accept rate'
    )
    _add_pairs(parser)


def add_report(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('runs', nargs='*', metavar='RUN', help="a run's folder")
    add('--compare', nargs='+', default=(), metavar='RUN')
    add('--output', default='', metavar='FOLDER', help='RUN by default')
    add('--root', default='', help='folder of the data sets')
    add(
        '--before',
        default='',
        metavar='RUN_OR_CHECKPOINT',
        help='the source-only model, for the first t-SNE',
    )
    add('--image', default='', metavar='FILE', help='attention on one image')


def add_export(parser: argparse.ArgumentParser) -> None:
    """Of ``export``."""
    add = parser.add_argument
    add('source', metavar='RUN_OR_CHECKPOINT', help="a run's folder or a file")
    add('--format', choices=sorted(SUFFIXES), default='onnx')
    add('--precision', choices=PRECISIONS, default='fp32')
    add('--input-size', default='', metavar='HxW', help='of incoming images')
    add(
        '--model-size',
        default='',
        metavar='HxW',
        help='of training images, for a checkpoint without its run',
    )
    add('--normalize', action='store_true', help='vectors of length 1')
    add('--name', default='', help="in the file name; the run's by default")
    add('--output', default='', metavar='FOLDER', help='RUN/export by default')
    add('--root', default='', help='folder of the data sets')
    add('--no-map', action='store_true', help='measure no change of mAP')
    add('--force', action='store_true', help='write fp16, int8 at any mAP')


def model_settings(args: argparse.Namespace) -> CN:
    """The settings that a model was made with, then pairs."""
    cfg = get_default_config()
    path = use.settings_file(args.model)
    if path is not None:
        merge_file(cfg, str(path))
    else:
        logging.getLogger('torchreid_daam').warning(
            '%s: no config.yaml of its run; data.height and data.width are '
            'the defaults unless they are given',
            args.model,
        )
    merge_options(cfg, args.opts)
    return cfg


def settings(args: argparse.Namespace) -> CN:
    """Defaults, then the file, then named arguments, then pairs."""
    cfg = get_default_config()
    known = flatten(cfg)
    options = list(args.opts)
    named = set()
    words = {'source_folder': args.source_folder}
    if args.config_file:
        named.update(merge_file(cfg, args.config_file))
    if args.root:
        cfg.data.root = args.root
    if args.source_folder:
        cfg.data.source_folder = args.source_folder
    for name in ('sources', 'targets', 'transforms', 'target_folder'):
        values = getattr(args, name)
        if values is None:
            continue
        # `-s a b train.lr 0.1`: the pairs belong to the settings.
        end = next(
            (i for i, value in enumerate(values) if value in known),
            len(values),
        )
        options = values[end:] + options
        if values[:end]:
            cfg.data[name] = values[:end]
            named.add(f'data.{name}')
            words[name] = ' '.join(values[:end])
    for option in options[::2]:
        if option.startswith('--'):
            raise InputError(f'{option}: has to stand before the settings')
    _refuse_both(words, dict(zip(options[::2], options[1::2], strict=False)))
    merge_options(cfg, options)
    _take_source(cfg, named.union(options[::2]))
    return cfg


def _refuse_both(
    words: Mapping[str, str | None], pairs: Mapping[str, str]
) -> None:
    """A folder takes the place of data sets: named ones would be ignored."""
    for folder, sets in (
        ('source_folder', 'sources'),
        ('target_folder', 'targets'),
    ):
        if not words.get(folder):
            continue
        given = ''
        if sets in words:
            given = f'-{sets[0]} {words[sets]}'
        # Its own name is what the folder stands for.
        elif folder not in pairs.get(f'data.{sets}', folder):
            given = f'data.{sets} {pairs[f"data.{sets}"]}'
        if given:
            flag = folder.replace('_', '-')
            raise InputError(
                f'--{flag}={words[folder]}: not together with {given}; '
                'one of them'
            )


def _take_source(cfg: CN, named: set[str]) -> None:
    """The default source is none that somebody asked for."""
    if not cfg.data.target_folder or cfg.data.source_folder:
        return
    if 'data.sources' in named:
        return
    if not (cfg.model.load_weights or cfg.model.resume):
        raise InputError(
            f'data.target_folder={cfg.data.target_folder}: needs a source: '
            'labelled data (-s, or --source-folder), or a model that was '
            'trained on some (model.load_weights)'
        )
    cfg.data.sources = []
