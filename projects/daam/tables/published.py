"""What the paper reports on real pairs, Tables 1 and 2 of arXiv:1905.10529.

Figures of UMDL, PUL, CAMEL, TJ-AIDL, PTGAN, SPGAN, HHL and ARN are those that
the paper quotes. None was measured here: several need hand-crafted features,
camera metrics, attributes or a GAN.
"""

from tables.markdown import head, line

COLUMNS = ('mAP', 'rank 1', 'rank 5', 'rank 10')
NONE = (None,) * 4
# Method: DukeMTMC-reID to Market-1501, Market-1501 to DukeMTMC-reID.
PUBLISHED = {
    'UMDL': ((12.4, 34.5, 52.6, 59.6), (7.3, 18.5, 31.4, 37.6)),
    'PUL': ((20.5, 45.5, 60.7, 66.7), (16.4, 30.0, 43.4, 48.5)),
    'CAMEL': ((26.3, 54.5, None, None), NONE),
    'TJ-AIDL': ((26.5, 58.2, 74.8, 81.1), (23.0, 44.3, 59.6, 65.0)),
    'PTGAN': ((None, 38.6, None, 66.1), (None, 27.4, None, 50.7)),
    'SPGAN': ((26.7, 57.7, 75.8, 82.4), (26.2, 46.4, 62.3, 68.0)),
    'HHL': ((31.4, 62.2, 78.8, 84.0), (27.2, 46.9, 61.0, 66.7)),
    'ARN': ((39.4, 70.3, 80.4, 86.3), (33.4, 60.2, 73.9, 79.5)),
    'DAAM': ((53.1, 77.8, 89.9, 93.7), (48.8, 71.3, 82.4, 86.3)),
}


def table() -> str:
    """The published figures in Markdown, and our row, which has none."""
    names = [f'{way} {name}' for way in ('D→M', 'M→D') for name in COLUMNS]
    lines = head(['method', *names])
    for method, pairs in PUBLISHED.items():
        cells = [f'{v:.1f}' if v else '–' for pair in pairs for v in pair]
        lines.append(line([method, *cells]))
    ours = ['torchreid_daam', *['not measured here'] * 8]
    return '\n'.join([*lines, line(ours)])
