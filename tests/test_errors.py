"""errors.py: one line for the user."""

import pickle

import pytest
from torch.utils.data import DataLoader, Dataset

from torchreid_daam.errors import InputError, plain_message


class Broken(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise InputError('a.jpg: not a readable image (x: y)')


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (InputError('train.lr=a: a number expected'),) * 2,
        (InputError(' padded: b \n'), 'padded: b'),
        (KeyboardInterrupt(), 'KeyboardInterrupt'),
        (ValueError('\n \n'), 'ValueError'),
        (ValueError('first\nsecond: third'), 'second: third'),
    ],
)
def test_plain_message(error, line):
    assert plain_message(error) == str(line).strip()


def test_a_workers_error_loses_its_traceback():
    with pytest.raises(InputError) as caught:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert str(caught.value) == 'a.jpg: not a readable image (x: y)'


@pytest.mark.parametrize(
    ('text', 'line'),
    [
        ('a\nb.jpg: gone', r'a\nb.jpg: gone'),
        ('a\r\t\x1b[31m: x', r'a\r\t\x1b[31m: x'),
        ('\udcff.jpg', r'\udcff.jpg'),
        ('\u2028', ''),
        ('Ä → 日本', 'Ä → 日本'),
        (r'C:\new: x', r'C:\new: x'),
    ],
)
def test_a_message_is_one_printable_line(text, line):
    error = InputError(text)
    assert str(error) == line
    assert line.isprintable()
    # As it travels between processes.
    assert str(pickle.loads(pickle.dumps(error))) == line
