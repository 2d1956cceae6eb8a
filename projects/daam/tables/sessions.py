"""Where and by which commands results were made."""

import os
import platform
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def session_lines(suite: Mapping[str, Any]) -> list[str]:
    """The commands that made a suite: machine, commit and time of each.

    One that was stopped and given again is one line. One that found every run
    finished is left out, unless no other is known: suites share runs.
    """
    minutes: dict[str, list[float]] = {}
    for session in suite['sessions']:
        name, *rest = session['command']
        command = shlex.join(['python', f'projects/daam/{name}', *rest])
        line = (
            f'`{command}`: {session["workers"]} at once, '
            f'{session["threads"]} thread each, {session["machine"]}, '
            f'commit {session["commit"]}'
        )
        minutes.setdefault(line, []).append(session['seconds'] / 60)
    worked = {
        line: [time for time in times if time >= 0.05]
        for line, times in minutes.items()
    }
    if not any(worked.values()):
        worked = minutes
    return [
        f'{line}, {sum(times):.1f} min for all that it ran'
        + (f', in {len(times)} goes' if len(times) > 1 else '')
        for line, times in worked.items()
        if times
    ]


def revision(repository: Path) -> str:
    """The commit, `+` where files differ from it; or `unknown`."""

    def git(*words: str) -> str:
        return subprocess.run(
            ['git', '-C', str(repository), *words],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        changed = git('status', '--porcelain', '--untracked-files=no')
        return git('rev-parse', '--short', 'HEAD') + ('+' if changed else '')
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def machine() -> str:
    """Kind of processor and number of cores; no name of a host."""
    name = platform.processor() or platform.machine()
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            fields = (line.split(':', 1) for line in file if ':' in line)
            found = {key.strip(): value.strip() for key, value in fields}
        name = found.get('model name', name)
    except OSError:
        pass
    return f'{name}, {os.cpu_count()} cores'
