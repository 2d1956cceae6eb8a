"""What a refusal says, if it is one and in one line."""

import pytest

from torchreid_daam.errors import InputError


def refused(call, *args, **options):
    """The message of the InputError that a call raises."""
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text
