"""An export in some lines of text."""

from collections.abc import Mapping
from typing import Any

from torchreid_daam.delivery.export import Exported
from torchreid_daam.runs.calibration import weaknesses


def report(exported: Exported) -> str:
    """What the command prints, from what the metadata holds."""
    told = exported.metadata
    megabytes = told['bytes'] / 1e6
    lines = [
        'images  batch  largest difference  smallest cosine',
        *(_parity_line(row) for row in told['parity']),
    ]
    resized = told['input']['resized_in_graph_to']
    alike = ', its images resized alike' if resized else ''
    for row in told['mAP']:
        lines.append(
            f'mAP on {row["dataset"]}: {row["model"]:.2f} by the model'
            f'{alike}, {row["file"]:.2f} by the file ({row["change"]:+.3f})'
        )
    if not told['mAP']:
        note = told['data'].get('note', 'left out by --no-map')
        lines.append(f'mAP: not measured ({note})')
    if 'against_fp32' in told:
        lines += _against_lines(told['against_fp32'], told['precision'])
    if not told['boxmot']['prepares_images_alike']:
        lines.append(f'warning: {told["boxmot"]["note"]}')
    if calibration := told.get('calibration'):
        lines.append(
            f'threshold {calibration["threshold"]:.4f}: {calibration["note"]}'
        )
        for line in weaknesses(calibration):
            lines.append(f'warning: the threshold is weak: {line}')
    for change in exported.changes:
        lines.append(f'warning: replaces a file whose {change}')
    size = 'x'.join(map(str, told['input']['shape'][2:]))
    unit = 'unit' if told['output']['l2_normalized'] else 'not normalised'
    lines.append(
        f'{exported.path} ({megabytes:.1f} MB, input {size}, vectors {unit})'
    )
    return '\n'.join(lines)


def _parity_line(row: Mapping[str, Any]) -> str:
    return (
        f'{row["images"]:6}  {row["batch"]:5}  '
        f'{row["max_difference"]:18.1e}  {row["min_cosine"]:15.9f}'
    )


def _against_lines(against: Mapping[str, Any], precision: str) -> list[str]:
    plain, file = (value / 1e6 for value in against['bytes'])
    lines = [f'size: {file:.2f} MB, fp32 {plain:.2f} MB']
    for key, (before, after) in against.items():
        if key.startswith('ms_batch_'):
            lines.append(
                f'batch {key.rsplit("_", 1)[1]}: {after:.2f} ms by '
                f'{precision}, {before:.2f} ms by fp32'
            )
    return lines
