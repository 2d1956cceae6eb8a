"""The named pairs of drawn domains.

The demo's pair is what settings were chosen on; the others ask whether what
helps there helps elsewhere. What a network scores on them is not known from
their knobs: see docs/results.md for what was measured.
"""

from dataclasses import replace

from torchreid_daam.data.synthetic.knobs import DomainKnobs

Pair = tuple[DomainKnobs, DomainKnobs]

_STREET = DomainKnobs(
    background='street',
    saturation=(0.45, 1.0),
    value=(0.45, 1.0),
    grey_share=0.25,
    cast=(1.04, 1.0, 0.95),
    white_balance=0.1,
    gain=(0.75, 1.15),
    gamma=(0.85, 1.2),
    crop_jitter=0.04,
    occlusion=0.06,
    clutter=0.3,
    blur=0.3,
    noise=3.0,
    jpeg_quality=90,
    train_ids=120,
)
_INDOOR = DomainKnobs(
    background='indoor',
    saturation=(0.3, 0.95),
    value=(0.25, 0.8),
    grey_share=0.28,
    hue_band=(0.45, 0.8),
    hue_share=0.5,
    cast=(0.75, 1.0, 1.2),
    contrast=0.7,
    white_balance=0.03,
    gain=(0.65, 0.85),
    gamma=(0.95, 1.15),
    crop_jitter=0.04,
    occlusion=0.05,
    clutter=0.1,
    shade=0.1,
    resolution=1.0,
    blur=0.3,
    noise=3.0,
    jpeg_quality=85,
    train_ids=100,
)


def _tiny(knobs: DomainKnobs) -> DomainKnobs:
    return replace(
        knobs,
        train_ids=12,
        test_ids=6,
        cameras=3,
        cameras_per_id=(2, 3),
        images_per_camera=3,
    )


def _target(**changes) -> Pair:
    """The demo's source, and its target with other knobs."""
    return _STREET, replace(_INDOOR, **changes)


PAIRS: dict[str, Pair] = {
    # The benchmark of the README and of the tests that train.
    'demo': (_STREET, _INDOOR),
    # The same worlds with a handful of people: drawn in half a second.
    'tiny': (_tiny(_STREET), _tiny(_INDOOR)),
    # Darker clothes and light, and cameras that differ more.
    'hard': _target(value=(0.2, 0.65), white_balance=0.06, gain=(0.6, 0.95)),
    # Both domains have the same scenery.
    'easy': _target(background='street'),
    # Much darker, of another colour, and cameras that differ much: next to
    # nothing that was learned on the source holds here.
    'far': _target(
        value=(0.15, 0.5),
        white_balance=0.12,
        gain=(0.5, 1.0),
        cast=(0.6, 1.0, 1.35),
    ),
    # Other people before other cameras, and little else.
    'near': (
        _STREET,
        replace(
            _STREET,
            value=(0.4, 0.95),
            cast=(1.0, 1.0, 1.0),
            white_balance=0.08,
            train_ids=100,
        ),
    ),
    'swapped': (_INDOOR, _STREET),
    # About 400 target training images.
    'few': _target(train_ids=25),
    # Some people have one image under a camera, some have many.
    'unequal': _target(image_spread=1.0),
    # All target training images from one camera, tested across all.
    'one-camera': _target(train_cameras=1, train_ids=300),
    # Nobody knows which camera took a target training image.
    'no-cameras': _target(camera_ids=False),
}
