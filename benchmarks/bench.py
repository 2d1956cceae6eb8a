"""Runs benchmarks and puts what they print into ``docs/performance.md``.

    python benchmarks/bench.py [step evaluation ...] [--doc FILE] [-- ARGS]

Each benchmark is a script beside this one. In the document its output stands
between ``<!-- bench:NAME -->`` and ``<!-- /bench -->``, with its command; the
rest of the document is left alone. What comes after ``--`` goes to every
script that is named. A benchmark that fails leaves its part as it was.
"""

import argparse
import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
DOC = HERE.parent / 'docs' / 'performance.md'
# Name -> arguments; the script has the name's first word.
BENCHES = {
    'step': ('--batch', '32', '--stock'),
    'step-osnet': ('--batch', '32', '--backbones', 'osnet_x1_0'),
    'step-384': (
        *('--batch', '32', '--height', '384'),
        *('--backbones', 'resnet50'),
    ),
    'step-bf16': (
        *('--batch', '32', '--precision', 'bf16', '--channels-last'),
        *('--backbones', 'resnet18', 'resnet50', 'osnet_x1_0'),
    ),
    'evaluation': (),
    'clustering': (),
    'clustering-32621': ('--images', '32621', '--repeats', '1'),
    'clustering-100000': ('--images', '100000', '--repeats', '1'),
    'kmeans': (),
    'epoch': (),
    'growth': ('--plot', str(DOC.parent / 'performance')),
}


def output(name: str, more: list[str]) -> str:
    """What a benchmark prints, its command first."""
    script = f'{name.partition("-")[0]}.py'
    arguments = [*BENCHES[name], *more]
    shown = [str(word).replace(f'{HERE.parent}/', '') for word in arguments]
    threads = os.environ.get('OMP_NUM_THREADS')
    told = f'OMP_NUM_THREADS={threads} ' if threads else ''
    lines = [
        ' '.join([f'$ {told}python benchmarks/{script}', *shown]),
        f'# {datetime.date.today()}',
    ]
    with subprocess.Popen(
        [sys.executable, '-W', 'ignore', str(HERE / script), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            print(line, end='', flush=True)
            lines.append(line.rstrip())
    if process.returncode:
        raise SystemExit(f'{script} ended with {process.returncode}')
    return '\n'.join(lines)


def put(doc: Path, name: str, text: str) -> None:
    """Replaces one part of the document, or adds it at the end."""
    part = f'<!-- bench:{name} -->\n```\n{text}\n```\n<!-- /bench -->'
    content = doc.read_text(encoding='utf-8') if doc.exists() else ''
    pattern = rf'<!-- bench:{re.escape(name)} -->.*?<!-- /bench -->'
    content, found = re.subn(pattern, lambda _: part, content, flags=re.S)
    if not found:
        content = f'{content.rstrip()}\n\n{part}\n'
    doc.write_text(content, encoding='utf-8')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('names', nargs='*', help=', '.join(BENCHES))
    parser.add_argument('--doc', type=Path, default=DOC)
    words = sys.argv[1:]
    cut = words.index('--') if '--' in words else len(words)
    args, more = parser.parse_args(words[:cut]), words[cut + 1 :]
    unknown = set(args.names) - BENCHES.keys()
    if unknown:
        parser.error(f'{unknown.pop()}: one of {", ".join(BENCHES)}')
    for name in args.names or BENCHES:
        print(f'== {name}', flush=True)
        put(args.doc, name, output(name, more))


if __name__ == '__main__':
    main()
