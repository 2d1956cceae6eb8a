"""The commands: what each does with its arguments, and what it prints."""

import argparse
import time
from pathlib import Path

from torchreid_daam import use
from torchreid_daam.arguments import (
    add_adapt,
    add_calibrate,
    add_export,
    add_extract,
    add_report,
    add_search,
    add_settings,
    model_settings,
    settings,
)
from torchreid_daam.calibrate_run import calibrate
from torchreid_daam.check import check
from torchreid_daam.delivery.summary import report as summary
from torchreid_daam.distributed import follower
from torchreid_daam.export_run import Wish, export_run
from torchreid_daam.plan import describe_plan
from torchreid_daam.run import adapt, report_tools
from torchreid_daam.runs.console import logged


def _adapt(args: argparse.Namespace) -> None:
    if '--dry-run' in args.opts:  # argparse gives the pairs all that follows
        args.opts.remove('--dry-run')
        args.dry_run = True
    cfg = settings(args)
    if args.dry_run:
        print(describe_plan(cfg))
        return
    if follower():
        adapt(cfg)
        return
    name = 'test' if cfg.test.evaluate else 'train'
    stamp = time.strftime('%Y-%m-%d-%H-%M-%S')
    with logged(Path(cfg.data.save_dir) / f'{name}.log-{stamp}'):
        adapt(cfg)


def _check(args: argparse.Namespace) -> None:
    report = check(settings(args))
    print(report.text())
    report.raise_problems()


def _extract(args: argparse.Namespace) -> None:
    cfg = model_settings(args)
    number = use.extract_files(cfg, args.model, args.images, args.out)
    print(f'{number} vectors in {args.out}')


def _search(args: argparse.Namespace) -> None:
    cfg = model_settings(args)
    print(
        use.search_files(
            cfg, args.model, args.query, args.gallery, args.out, args.top
        )
    )


def _calibrate(args: argparse.Namespace) -> None:
    cfg = model_settings(args)
    found = calibrate(cfg, args.model, args.far)
    part = found[found['basis']]
    low, high = found['interval']
    print(
        f'same person up to a cosine distance of {found["threshold"]:.4f} '
        f'({low:.4f} to {high:.4f}), by the {found["basis"]}: '
        f'{part["false_accepts"]:.2%} of {part["different_pairs"]} pairs of '
        f'two people are accepted, {part["false_rejects"]:.1%} of '
        f'{part["same_pairs"]} pairs of one person are rejected'
    )


def _export(args: argparse.Namespace) -> None:
    wish = {name: getattr(args, name) for name in Wish._fields}
    print(summary(export_run(Wish(**wish))))


def _report(args: argparse.Namespace) -> None:
    ReportWish, report_run = report_tools()
    wish = {name: getattr(args, name) for name in ReportWish._fields}
    print(f'report: {report_run(ReportWish(**wish))}')


# Name -> what it does, its arguments, its action.
COMMANDS = {
    'adapt': (
        'train, adapt or evaluate a model',
        add_adapt,
        _adapt,
    ),
    'check': ('look at the images of a run first', add_settings, _check),
    'calibrate': (
        'find a threshold for "the same person"',
        add_calibrate,
        _calibrate,
    ),
    'extract': (
        'write the vectors of images',
        add_extract,
        _extract,
    ),
    'search': (
        'find images of the same person',
        add_search,
        _search,
    ),
    'report': ('write one page on what a run learned', add_report, _report),
    'export': ('write a model as ONNX or so', add_export, _export),
}
