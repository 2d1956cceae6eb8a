"""The network: backbone, attention, two branches and their heads.

Sections 3.1 to 3.3 of arXiv:1905.10529; the equations of the attention live
in :mod:`torchreid_daam.attention`.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import nn

from torchreid_daam.attention import (
    ATTENTIONS,
    GATES,
    DomainAdaptiveAttention,
    split,
)
from torchreid_daam.backbones import build_backbone
from torchreid_daam.errors import check_choice
from torchreid_daam.randomness import key_seed, seeded
from torchreid_daam.record import (
    RECORD_FORMAT,
    check_same,
    decode_record,
    encode_record,
)

LOSSES = ('softmax', 'triplet', 'daam')
# What an evaluated model gives, and where its shared branch then ends.
FEATURES = {'embedding': None, 'pre_relu': -1}
HEAD_STD = 0.01


class DAAMOutput(NamedTuple):
    """What training with ``loss='daam'`` returns, for all N rows.

    A NamedTuple, since ``nn.DataParallel`` can gather it. None stands for a
    part that is switched off.
    """

    y_s: torch.Tensor  # (N, source identities)
    y_t: torch.Tensor  # (N, K)
    y_nominal: torch.Tensor | None  # (N, 1)
    y_domain: torch.Tensor | None  # (N, 2), source and target
    feat_dsh: torch.Tensor  # (N, embed_dim)
    feat_dsp: torch.Tensor | None  # (N, embed_dim)


class DAAM(nn.Module):
    """Domain adaptive attention model (arXiv:1905.10529, Fig. 3).

    In eval mode the output is the domain-shared embedding (N, embed_dim), or
    what ``feature`` says; in training mode ``loss`` decides, as in torchreid:
    ``softmax -> y``, ``triplet -> (y, v)``, ``daam -> DAAMOutput``.

    Args:
        backbone_name: as torchreid knows it, e.g. ``resnet50``.
        num_classes_s: source identities.
        num_clusters: K; used with ``loss='daam'``.
        loss: what training returns.
        pretrained: ImageNet weights for the backbone.
        backbone_weights: a local file of backbone weights instead.
        embed_dim: size of f_sh and f_sp.
        reduction: r of Eq. 4.
        attention: ``residual`` is the paper's; ``independent`` gives each
            branch its own (IA in Table 3); ``none`` feeds both the plain map.
        dsp_branch: whether the domain-specific branch exists.
        gate: how A is made from its two parts; see ``attention.GATES``.
        attention_init: how A starts; see ``attention.INITS``.
        last_stride: 1 doubles the side of the map (ResNet family); Luo et
            al., "Bag of Tricks", 2019.
        nominal_head: whether the head of Eq. 5 exists.
        feature: what eval mode gives: ``embedding`` is f_sh, ``pre_relu``
            f_sh before its ReLU, which is ours. Weights don't depend on it.
        seed: initial weights are drawn by (seed, module name); None takes
            one number from torch's global generator.

    Raises:
        ValueError: for an option that is not known.
        InputError: for weights that can't be had or don't fit.
    """

    def __init__(
        self,
        backbone_name: str,
        num_classes_s: int,
        num_clusters: int = 650,
        loss: str = 'daam',
        pretrained: bool = True,
        backbone_weights: str = '',
        embed_dim: int = 256,
        reduction: int = 16,
        attention: str = 'residual',
        dsp_branch: bool = True,
        gate: str = 'sigmoid',
        attention_init: str = 'neutral',
        last_stride: int = 0,
        nominal_head: bool = True,
        feature: str = 'embedding',
        seed: int | None = None,
    ) -> None:
        super().__init__()
        check_choice('loss', loss, LOSSES)
        check_choice('attention', attention, ATTENTIONS)
        check_choice('gate', gate, GATES)
        check_choice('feature', feature, tuple(FEATURES))
        if seed is None:
            seed = int(torch.empty((), dtype=torch.int64).random_())
        self.loss = loss
        self.backbone_name = backbone_name
        self.architecture = {
            'format': RECORD_FORMAT,
            'backbone': backbone_name,
            'embed_dim': embed_dim,
            'reduction': reduction,
            'attention': attention,
            'dsp_branch': dsp_branch,
            'gate': gate,
            'last_stride': last_stride,
        }
        if feature != 'embedding':  # records of before have no such name
            self.architecture['feature'] = feature

        def add(name: str, build, *args, **kwargs) -> None:
            with seeded(key_seed(seed, name)):
                setattr(self, name, build(*args, **kwargs))

        with seeded(key_seed(seed, 'backbone')):
            self.backbone, channels = build_backbone(
                backbone_name, pretrained, backbone_weights, last_stride
            )
        if attention != 'none':
            parts = ['attention']
            if attention == 'independent' and dsp_branch:
                parts.append('attention_dsp')
            for part in parts:
                add(
                    part,
                    DomainAdaptiveAttention,
                    channels,
                    reduction,
                    gate,
                    attention_init,
                )
        add('branch_dsh', _branch, channels, embed_dim)
        if dsp_branch:
            add('branch_dsp', _branch, channels, embed_dim)
        add('classifier_s', _head, embed_dim, num_classes_s)
        if loss == 'daam':
            add('classifier_t', _head, embed_dim, num_clusters)
            if nominal_head:
                add('nominal', _head, embed_dim, 1)
            if dsp_branch:
                add('domain', _head, embed_dim, 2)
        self.register_buffer('record', encode_record(self.architecture))

    def separate(self, f: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Domain-shared and domain-specific maps of a map (N, C, h, w)."""
        kind = self.architecture['attention']
        if kind == 'none':
            return f, f
        f_dsh, f_dsp = split(f, self.attention(f))
        if kind == 'independent' and self.architecture['dsp_branch']:
            f_dsp, _ = split(f, self.attention_dsp(f))
        return f_dsh, f_dsp

    def eval_branch(self) -> nn.Sequential:
        """The shared branch as far as eval mode goes; it shares weights."""
        end = FEATURES[self.architecture.get('feature', 'embedding')]
        return self.branch_dsh if end is None else self.branch_dsh[:end]

    def forward(self, x: torch.Tensor):
        """(N, 3, H, W) -> see the class."""
        f_dsh, f_dsp = self.separate(self.backbone.featuremaps(x))
        if not self.training:
            return self.eval_branch()(f_dsh)
        v = self.branch_dsh(f_dsh)
        y_s = self.classifier_s(v)
        if self.loss == 'softmax':
            return y_s
        if self.loss == 'triplet':
            return y_s, v
        v_dsp = y_domain = None
        if self.architecture['dsp_branch']:
            v_dsp = self.branch_dsp(f_dsp)
            y_domain = self.domain(v_dsp)
        nominal = getattr(self, 'nominal', None)
        return DAAMOutput(
            y_s=y_s,
            y_t=self.classifier_t(v),
            y_nominal=None if nominal is None else nominal(v),
            y_domain=y_domain,
            feat_dsh=v,
            feat_dsp=v_dsp,
        )

    @torch.no_grad()
    def set_num_clusters(
        self,
        num_clusters: int,
        seed: int = 0,
        centers: torch.Tensor | None = None,
    ) -> None:
        """Re-initialises the K-way head of Eq. 8, in place.

        The Parameter objects stay the same, so an optimiser that was built
        earlier goes on training them; its state for them has to be dropped.

        Args:
            num_clusters: K of the coming round.
            seed: of the random start.
            centers: (K, embed_dim); start from them instead, W = C and
                b = -|C|^2 / 2, so that the first answer is the nearest one.
        """
        old = self.classifier_t.weight
        with seeded(seed):
            fresh = _head(old.shape[1], num_clusters)
        if centers is not None:
            centers = centers.to(fresh.weight)
            fresh.weight.copy_(centers)
            fresh.bias.copy_(-centers.square().sum(1) / 2)
        self.classifier_t.out_features = num_clusters
        for name, value in fresh.named_parameters():
            parameter = self.classifier_t.get_parameter(name)
            parameter.data = value.to(parameter)
            parameter.grad = None

    def _load_from_state_dict(self, state_dict, prefix, *args):
        # Also on the way of torchreid's load_pretrained_weights, which would
        # drop what doesn't match and go on with random weights.
        record = state_dict.get(f'{prefix}record')
        if record is not None:
            check_same(self.architecture, decode_record(record))
        super()._load_from_state_dict(state_dict, prefix, *args)
        # The file's own says what that model gave; this one gives its own.
        with torch.no_grad():
            self.record.copy_(encode_record(self.architecture))


def _branch(channels: int, embed_dim: int) -> nn.Sequential:
    # "a Global Average Pooling (GAP) operation, a 2048x256 fully connected
    # (FC) layer, a Batch Normalized (BC) layer and a ReLU" (section 3.2)
    return nn.Sequential(
        OrderedDict(
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(channels, embed_dim),
            bn=nn.BatchNorm1d(embed_dim),
            relu=nn.ReLU(),
        )
    )


def _head(embed_dim: int, classes: int) -> nn.Linear:
    head = nn.Linear(embed_dim, classes)
    nn.init.normal_(head.weight, std=HEAD_STD)
    nn.init.zeros_(head.bias)
    return head


def build_daam(
    backbone: str,
    num_classes_s: int,
    num_clusters: int = 650,
    loss: str = 'daam',
    pretrained: bool = True,
    **model_kwargs: Any,
) -> DAAM:
    """Builds a model; the arguments are those of :class:`DAAM`.

    Example:
        >>> build_daam('resnet50', 751, 650, gate='literal')
    """
    return DAAM(
        backbone, num_classes_s, num_clusters, loss, pretrained, **model_kwargs
    )
