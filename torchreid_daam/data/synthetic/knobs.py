"""The knobs of a drawn domain.

The gap between two domains sits in what a whole domain shares (background
family, clothes palette, colour cast); the cameras of one domain differ by
white balance, gain and gamma.
"""

from dataclasses import dataclass

FAMILIES = ('street', 'indoor', 'park')

# A block of numbers per domain and split: adding people renames nobody, the
# domains stay disjoint, and torchreid's Market-1501 reader (0..1501) can
# parse every file name.
MAX_IDS = 375

_SHARES = (
    'hue_share', 'grey_share', 'own_view', 'occlusion', 'clutter', 'shade',
)  # fmt: skip
_RANGES = {
    'saturation': (0.0, 1.0),
    'value': (0.0, 1.0),
    'hue_band': (0.0, 2.0),
    'gain': (0.05, 5.0),
    'gamma': (0.05, 5.0),
}
_COUNTS = {
    'train_ids': (1, MAX_IDS),
    'test_ids': (1, MAX_IDS),
    'cameras': (2, 6),
    'images_per_camera': (2, 99),
    'train_cameras': (0, 6),
    'jpeg_quality': (1, 100),
    'height': (16, 1024),
    'width': (8, 512),
}
_AMOUNTS = {
    'white_balance': (0.0, 1.0),
    'contrast': (0.05, 3.0),
    'noise': (0.0, 100.0),
    'blur': (0.0, 20.0),
    'resolution': (0.05, 1.0),
    'crop_jitter': (0.0, 0.5),
    'image_spread': (0.0, 3.0),
}


@dataclass(frozen=True)
class DomainKnobs:
    """Everything that tells one drawn domain from another.

    Each knob moves one thing: the random numbers behind the others are drawn
    from their own generators and stay what they were.
    """

    # What the whole domain shares.
    background: str = 'street'  # family of the scenery, one of FAMILIES
    saturation: tuple[float, float] = (0.45, 1.0)  # of coloured clothes
    value: tuple[float, float] = (0.45, 1.0)  # brightness of coloured clothes
    grey_share: float = 0.25  # share of garments without a colour
    hue_band: tuple[float, float] = (0.0, 1.0)  # favoured hues, turns
    hue_share: float = 0.0  # share of coloured garments inside hue_band
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factor on R, G, B
    contrast: float = 1.0  # around mid-grey
    # How the cameras of the domain differ.
    white_balance: float = 0.1  # sigma of the log factor on R, G, B
    gain: tuple[float, float] = (0.75, 1.15)  # exposure
    gamma: tuple[float, float] = (0.85, 1.2)  # exponent on [0, 1]
    own_view: float = 0.6  # share of images from the camera's own viewpoint
    # What differs from image to image.
    crop_jitter: float = 0.05  # spread of the box around the person
    occlusion: float = 0.12  # share of images with something in front
    clutter: float = 0.3  # share of images with a second person at the edge
    shade: float = 0.0  # how dark a cast shadow is, 0 = none, 1 = black
    # What the sensor does.
    resolution: float = 1.0  # shrunk by this factor and enlarged again
    blur: float = 0.3  # sigma in pixels
    noise: float = 3.0  # sigma in grey levels of 255
    jpeg_quality: int = 90
    # How much of it there is.
    train_ids: int = 120
    test_ids: int = 80
    cameras: int = 6
    cameras_per_id: tuple[int, int] = (3, 5)  # both ends included
    images_per_camera: int = 4  # of one person; the first one is the query
    height: int = 64
    width: int = 32
    # Training images alone: query and gallery are as above.
    train_cameras: int = 0  # only the first ones see anybody; 0 = all
    image_spread: float = 0.0  # sigma of the log factor on a person's images
    camera_ids: bool = True  # whether the data set tells which one it was

    def __post_init__(self) -> None:
        if self.background not in FAMILIES:
            raise ValueError(
                f'background={self.background!r} is not one of '
                f'{", ".join(FAMILIES)}'
            )
        limits = dict.fromkeys(_SHARES, (0.0, 1.0))
        for name, (low, high) in (limits | _AMOUNTS | _COUNTS).items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f'{name}={value} is outside [{low}, {high}]')
        for name, (low, high) in _RANGES.items():
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                raise ValueError(
                    f'{name}=({first}, {last}) is not a rising range '
                    f'inside [{low}, {high}]'
                )
        first, last = self.cameras_per_id
        if not 2 <= first <= last <= self.cameras:
            raise ValueError(
                f'cameras_per_id=({first}, {last}) is not a rising range '
                f'inside [2, cameras={self.cameras}]: a query needs a match '
                'under another camera'
            )
        if len(self.cast) != 3 or min(self.cast) <= 0:
            raise ValueError(f'cast={self.cast} is not 3 positive factors')
