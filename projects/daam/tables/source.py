"""Which source a run was made by."""

import ast
import hashlib
import io
import tokenize
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
# Files beside the package that a method or seat is made of.
FILES = {
    'pul': ('baselines/pul.py', 'baselines/loop.py'),
    'arn': ('baselines/arn.py', 'baselines/loop.py'),
    'cluster_contrast': (
        'baselines/cluster_contrast.py',
        'baselines/loop.py',
    ),
    'supervised': ('baselines/supervised.py', 'baselines/loop.py'),
}
_DOCUMENTED = (
    ast.Module,
    ast.ClassDef,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
)
_digests: dict[tuple[str, ...], str] = {}


def source_digest(method: str = '', seat: str = '', after: str = '') -> str:
    """Digest of the package's code and of what else makes a run.

    Comments and docstrings are left out: mending one costs no run.

    Args:
        method: of a row.
        seat: the same.
        after: the same.
    """
    names = ('tables/worker.py', *FILES.get(method, ()))
    if after:
        names += ('tables/unlabelled.py',)
    if seat:
        names += ('tables/seats.py',)
    if names not in _digests:
        package = sorted((REPOSITORY / 'torchreid_daam').rglob('*.py'))
        state = hashlib.sha256()
        for path in [*package, *(HERE.parent / name for name in names)]:
            where = path.relative_to(REPOSITORY).as_posix()
            text = code(path.read_text(encoding='utf-8'))
            state.update(f'{where}\n{text}\n'.encode())
        _digests[names] = state.hexdigest()
    return _digests[names]


def code(text: str) -> str:
    """Python source without comments and docstrings.

    By their places in the text, which every version of Python agrees on; a
    dump of the tree it does not.

    Args:
        text: of a module.
    """
    lines = dict(enumerate(text.splitlines(), 1))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row] = lines[row][:column].rstrip()
            if not lines[row]:
                del lines[row]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node):
            first = node.body[0]
            for row in range(first.lineno, first.end_lineno + 1):
                del lines[row]
    return '\n'.join(lines.values())
