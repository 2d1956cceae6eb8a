"""A backbone of our own, for the demo and for tests."""

import logging

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

logger = logging.getLogger('torchreid_daam')


class ResNetTiny(nn.Module):
    """A ResNet of 0.4 M parameters for small crops; our own, no ImageNet.

    3x3 stem of stride 2, BasicBlocks of 16, 32, 64 and 128 channels, strides
    1, 2, 2 and 1: an 8x4 map from 64x32.

    Args:
        num_classes: training identities.
        loss: ``softmax`` or ``triplet``, what training returns.
    """

    feature_dim = 128

    def __init__(self, num_classes: int, loss: str = 'softmax') -> None:
        super().__init__()
        if loss not in ('softmax', 'triplet'):
            raise KeyError(f'Unsupported loss: {loss}')
        self.loss = loss
        self.conv1 = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _basic_block(16, 16, 1)
        self.layer2 = _basic_block(16, 32, 2)
        self.layer3 = _basic_block(32, 64, 2)
        self.layer4 = _basic_block(64, 128, 1)
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(self.feature_dim, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out')

    def featuremaps(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 128, H / 8, W / 8)."""
        f = self.relu(self.bn1(self.conv1(x)))
        return self.layer4(self.layer3(self.layer2(self.layer1(f))))

    def forward(self, x: torch.Tensor):
        v = self.global_avgpool(self.featuremaps(x)).flatten(1)
        if not self.training:
            return v
        y = self.classifier(v)
        return y if self.loss == 'softmax' else (y, v)


def _basic_block(inplanes: int, planes: int, stride: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or inplanes != planes:
        downsample = nn.Sequential(
            nn.Conv2d(inplanes, planes, 1, stride, bias=False),
            nn.BatchNorm2d(planes),
        )
    return nn.Sequential(BasicBlock(inplanes, planes, stride, downsample))


def resnet_tiny(
    num_classes: int,
    loss: str = 'softmax',
    pretrained: bool = True,
    use_gpu: bool = True,
) -> ResNetTiny:
    """Builder in torchreid's form; see :class:`ResNetTiny`."""
    if pretrained:
        logger.info('resnet_tiny has no ImageNet weights; it starts random')
    return ResNetTiny(num_classes, loss)
