"""findings.py: a report as lines and as a file."""

import json

import pytest

from refusals import refused
from torchreid_daam.findings import FORMAT, Report


@pytest.fixture
def report():
    report = Report()
    report.domains['target'] = {
        'images': 30,
        'cameras': {f'cam{i}': 2 for i in range(15)},
        'unreadable': 1,
        'exact_copies': 2,
        'near_copies': None,
        'blank': 3,
        'tiny': 4,
        'tiny_below': {'height': 64.0, 'width': 32.0},
        'width': [10, 20, 30, 40, 50],
        'height': [20, 40, 60, 80, 100],
        'aspect': None,
    }
    return report


def test_a_line_for_each_figure(report):
    found = {
        line[2:17].strip(): line[17:] for line in report.text().split('\n')
    }
    assert found['images'] == '30'
    assert found['width'] == '30 pixels (10 to 50)'
    assert found['height / width'] == '-'
    assert 'cam11: 2, ... 15 in all' in found['cameras']
    assert 'cam12' not in found['cameras']
    assert 'torchreid-daam[check]' in found['near copies']
    assert found['tiny'] == '4 (below 32 x 64 pixels)'


def test_problems_and_warnings_come_last(report):
    assert 'problems' not in report.text()
    report.raise_problems()
    report.warnings.append('so so')
    report.problems += ['bad', 'worse']
    assert report.text().split('\n')[-5:] == [
        *('problems', '  bad', '  worse', 'warnings', '  so so')
    ]
    assert refused(report.raise_problems) == 'bad'


def test_the_file_holds_all_of_it(report, tmp_path):
    report.problems.append('bad')
    path = report.write(tmp_path / 'log')
    assert path == tmp_path / 'log' / 'check.json'
    assert json.loads(path.read_text()) == {
        'format': FORMAT,
        'domains': report.domains,
        'run': {},
        'problems': ['bad'],
        'warnings': [],
    }
