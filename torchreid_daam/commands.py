"""The commands: their arguments, their settings, what they print."""

import argparse
import logging
import time
from pathlib import Path

from yacs.config import CfgNode as CN

from torchreid_daam import use
from torchreid_daam.check import check
from torchreid_daam.config import (
    flatten,
    get_default_config,
    merge_file,
    merge_options,
)
from torchreid_daam.errors import InputError
from torchreid_daam.plan import describe_plan
from torchreid_daam.run import adapt
from torchreid_daam.runs.console import logged


def _add_adapt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='show settings, data, steps and expected time; train nothing',
    )
    _add_settings(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
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


def _add_extract_arguments(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    add = parser.add_argument
    add('--images', nargs='+', required=True, help='folders or files')
    add('--out', required=True, help='a file, .npz or .csv')
    _add_pairs(parser)


def _add_search_arguments(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    add = parser.add_argument
    add('--query', nargs='+', required=True, help='images or folders')
    add('--gallery', nargs='+', required=True, help='images or folders')
    add('--out', required=True, help='folder of table, JSON and picture')
    add('--top', type=int, default=10, help='matches for a query')
    _add_pairs(parser)


def _add_calibrate_arguments(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument(
        '--far', type=float, default=0.01, help='wished false-accept rate'
    )
    _add_pairs(parser)


def _adapt(args: argparse.Namespace) -> None:
    if '--dry-run' in args.opts:  # argparse gives the pairs all that follows
        args.opts.remove('--dry-run')
        args.dry_run = True
    cfg = _settings(args)
    if args.dry_run:
        print(describe_plan(cfg))
        return
    name = 'test' if cfg.test.evaluate else 'train'
    stamp = time.strftime('%Y-%m-%d-%H-%M-%S')
    with logged(Path(cfg.data.save_dir) / f'{name}.log-{stamp}'):
        adapt(cfg)


def _check(args: argparse.Namespace) -> None:
    report = check(_settings(args))
    print(report.text())
    report.raise_problems()


def _extract(args: argparse.Namespace) -> None:
    cfg = _model_settings(args)
    number = use.extract_files(cfg, args.model, args.images, args.out)
    print(f'{number} vectors in {args.out}')


def _search(args: argparse.Namespace) -> None:
    cfg = _model_settings(args)
    print(
        use.search_files(
            cfg, args.model, args.query, args.gallery, args.out, args.top
        )
    )


def _calibrate(args: argparse.Namespace) -> None:
    cfg = _model_settings(args)
    found = use.calibrate(cfg, args.model, args.far)
    part = found[found['basis']]
    low, high = found['interval']
    print(
        f'same person up to a cosine distance of {found["threshold"]:.4f} '
        f'({low:.4f} to {high:.4f}), by the {found["basis"]}: '
        f'{part["false_accepts"]:.2%} of {part["different_pairs"]} pairs of '
        f'two people are accepted, {part["false_rejects"]:.1%} of '
        f'{part["same_pairs"]} pairs of one person are rejected'
    )


def _model_settings(args: argparse.Namespace) -> CN:
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


def _settings(args: argparse.Namespace) -> CN:
    """Defaults, then the file, then named arguments, then pairs."""
    cfg = get_default_config()
    known = flatten(cfg)
    options = list(args.opts)
    named = set()
    if args.config_file:
        named.update(merge_file(cfg, args.config_file))
    if args.root:
        cfg.data.root = args.root
    if args.source_folder:
        if args.sources:
            raise InputError(
                f'--source-folder={args.source_folder}: not together with '
                f'-s {" ".join(args.sources)}; one of them'
            )
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
    for option in options[::2]:
        if option.startswith('--'):
            raise InputError(f'{option}: has to stand before the settings')
    merge_options(cfg, options)
    _take_source(cfg, named.union(options[::2]))
    return cfg


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


# Name -> what it does, its arguments, its action.
COMMANDS = {
    'adapt': (
        'train, adapt or evaluate a model',
        _add_adapt_arguments,
        _adapt,
    ),
    'check': ('look at the images of a run first', _add_settings, _check),
    'calibrate': (
        'find a threshold for "the same person"',
        _add_calibrate_arguments,
        _calibrate,
    ),
    'extract': (
        'write the vectors of images',
        _add_extract_arguments,
        _extract,
    ),
    'search': (
        'find images of the same person',
        _add_search_arguments,
        _search,
    ),
}
