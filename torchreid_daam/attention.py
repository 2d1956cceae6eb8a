"""Domain adaptive attention, Eq. (1) to (4) of arXiv:1905.10529.

The attention map A says how much of every entry of a feature map is shared
by the domains; what is left over is specific to one of them.
"""

import torch
from torch import nn
from torch.nn import functional as F

from torchreid_daam.errors import check_choice

ATTENTIONS = ('residual', 'independent', 'none')
GATES = ('sigmoid', 'relu_sigmoid', 'literal', 'harmonious')
INITS = ('neutral', 'random')


def split(
    f: torch.Tensor, a: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Domain-shared and domain-specific part of a feature map.

    Eq. (1) and (2) of arXiv:1905.10529::

        F = F_sh + F_sp,  F_sh = A * F,  F_sp = (1 - A) * F

    Args:
        f: feature map (N, C, H, W).
        a: attention map (N, C, H, W), or one that broadcasts to it.

    Returns:
        ``(f_dsh, f_dsp)``, both (N, C, H, W).
    """
    return a * f, (1 - a) * f


class SpatialAttention(nn.Module):
    """Where to look: one logit per position, shared by all channels.

    The factor S of Eq. (3) of arXiv:1905.10529, before a gate bounds it:
    mean over channels, 3x3 convolution with stride 2, upsampling, 1x1
    convolution. (N, C, H, W) -> (N, 1, H, W).

    The paper names the layers and nothing between them, so these are plain
    convolutions with a bias and without batch normalisation.
    """

    def __init__(self) -> None:
        super().__init__()
        # Zeros outside the map would make its first row and column look
        # quiet, and not its last ones when a side is even.
        self.conv = nn.Conv2d(
            1, 1, kernel_size=3, stride=2, padding=1, padding_mode='replicate'
        )
        self.scale = nn.Conv2d(1, 1, kernel_size=1)

    def forward(self, f: torch.Tensor) -> torch.Tensor:
        s = self.conv(f.mean(dim=1, keepdim=True))
        # To the size of f and not by a factor of 2: sides may be odd. The
        # convolution sits on rows 0, 2, 4, ..., so matching the corners puts
        # its values back where they came from when a side is odd.
        s = F.interpolate(
            s, size=f.shape[-2:], mode='bilinear', align_corners=True
        )
        return self.scale(s)


class ChannelAttention(nn.Module):
    """What to look for: one logit per channel, shared by all positions.

    Eq. (4) of arXiv:1905.10529 without its outer ReLU, which belongs to the
    gate (:class:`DomainAdaptiveAttention`)::

        C = W1 ReLU(W0 GAP(F)),  W0 (C/r, C),  W1 (C, C/r)

    (N, C, H, W) -> (N, C, 1, 1).

    Args:
        channels: C.
        reduction: r; the hidden layer has ``max(1, C // r)`` units. Config
            key ``model.daam.reduction``.

    Raises:
        ValueError: if ``channels`` or ``reduction`` is less than 1.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        for name, value in (('channels', channels), ('reduction', reduction)):
            if value < 1:
                raise ValueError(f'{name}={value} is less than 1')
        hidden = max(1, channels // reduction)
        self.w0 = nn.Linear(channels, hidden, bias=False)
        self.w1 = nn.Linear(hidden, channels, bias=False)

    def forward(self, f: torch.Tensor) -> torch.Tensor:
        v = self.w1(F.relu(self.w0(f.mean(dim=(2, 3)))))
        return v[:, :, None, None]


class DomainAdaptiveAttention(nn.Module):
    """Attention map A = S x C, Eq. (3) of arXiv:1905.10529.

    The paper wants A in (0, 1) but prints no function that bounds it. With
    the logits S and C of the two modules above and s the sigmoid:

    * ``sigmoid`` (default): ``s(S) * s(C)``, which covers (0, 1);
    * ``relu_sigmoid``: ``s(S) * s(ReLU(C))``, whose channel factor never
      falls below 0.5;
    * ``literal``: ``S * ReLU(C)``, as printed and unbounded;
    * ``harmonious``: ``s(conv1x1(S * ReLU(C)))``, the form of HA-CNN, which
      the paper names as its inspiration.

    (N, C, H, W) -> (N, C, H, W).

    Args:
        channels: C.
        reduction: r of Eq. (4). Config key ``model.daam.reduction``.
        gate: one of ``GATES``. Config key ``model.daam.gate``.
        init: one of ``INITS``; the paper's is ``random`` (section 5.2).
            With ``neutral``, a departure, and the gate ``sigmoid`` A starts
            as 1/4 everywhere. Config key
            ``model.daam.attention_init``.

    Raises:
        ValueError: if ``channels`` or ``reduction`` is less than 1, or
            ``gate`` or ``init`` is unknown.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        gate: str = 'sigmoid',
        init: str = 'neutral',
    ) -> None:
        super().__init__()
        check_choice('gate', gate, GATES)
        check_choice('attention_init', init, INITS)
        self.gate = gate
        self.spatial = SpatialAttention()
        self.channel = ChannelAttention(channels, reduction)
        if gate == 'harmonious':
            self.mix = nn.Conv2d(channels, channels, kernel_size=1)
        # A ReLU or a product of both factors at zero would pass no gradient.
        if init == 'neutral' and gate == 'sigmoid':
            self._start_neutral()

    def _start_neutral(self) -> None:
        # S hangs on one kernel and one factor. Drawn at random, they prefer
        # one side of the map, or its quiet places, before anything is
        # learned, and keep to it. A local mean of factor 0 has no side, and
        # the sign of the factor is learned.
        nn.init.constant_(self.spatial.conv.weight, 1 / 9)
        nn.init.zeros_(self.spatial.conv.bias)
        nn.init.zeros_(self.spatial.scale.weight)
        nn.init.zeros_(self.spatial.scale.bias)
        nn.init.zeros_(self.channel.w1.weight)

    def forward(self, f: torch.Tensor) -> torch.Tensor:
        s, c = self.spatial(f), self.channel(f)
        if self.gate == 'sigmoid':
            return s.sigmoid() * c.sigmoid()
        c = F.relu(c)
        if self.gate == 'relu_sigmoid':
            return s.sigmoid() * c.sigmoid()
        if self.gate == 'literal':
            return s * c
        return self.mix(s * c).sigmoid()
