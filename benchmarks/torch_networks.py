"""The networks of gnexp/models in PyTorch, with its own group norm."""

from typing import Any

from ml_collections import ConfigDict

from benchmarks import measure


def build(config: ConfigDict, channels: int, outputs: int) -> Any:
    """Returns the twin of a network as a torch.nn.Module, and its kernels that are regularized.

    Args:
      config: a config's `model` section, whose name is cnn, resnet or unet and whose args are complete.
      channels: of the images.
      outputs: the number of outputs for each image.
    """
    return {"cnn": _cnn, "resnet": _resnet, "unet": _unet}[config.name](config, channels, outputs)


def _norm(config: ConfigDict, channels: int) -> Any:
    return measure.peer("torch").nn.GroupNorm(config.groups, channels, eps=config.epsilon)


def _cnn(config: ConfigDict, channels: int, outputs: int) -> Any:
    nn = measure.peer("torch").nn
    args, layers = config.args, []
    for filters in args.filters:
        layers += [nn.Conv2d(channels, filters, 3), _norm(config, filters), nn.ReLU(inplace=True)]
        channels = filters
    return nn.Sequential(
        *layers,
        nn.MaxPool2d(2),
        nn.Dropout(args.conv_dropout),
        nn.Flatten(),
        nn.LazyLinear(args.units),
        nn.ReLU(inplace=True),
        nn.Dropout(args.dense_dropout),
        nn.Linear(args.units, outputs),
    )


def _resnet(config: ConfigDict, channels: int, outputs: int) -> Any:
    """Returns the network for small images, of depth 6n + 2."""
    nn = measure.peer("torch").nn

    def conv(inside: int, width: int, size: int, stride: int) -> list:
        return [nn.Conv2d(inside, width, size, stride, size // 2, bias=False), _norm(config, width)]

    class Block(nn.Module):
        def __init__(self, inside: int, width: int, stride: int):
            super().__init__()
            first = conv(inside, width, 3, stride)
            self.body = nn.Sequential(*first, nn.ReLU(inplace=True), *conv(width, width, 3, 1))
            self.shortcut = nn.Sequential(*(conv(inside, width, 1, stride) if stride > 1 or inside != width else []))
            self.end = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.end(self.body(x) + self.shortcut(x))

    first = 16 * config.args.widen
    layers = [*conv(channels, first, 3, 1), nn.ReLU(inplace=True)]
    inside = first
    for stage in range(3):
        for number in range(config.args.depth // 6):
            layers.append(Block(inside, first * 2**stage, 2 if stage and not number else 1))
            inside = first * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, outputs))


def _unet(config: ConfigDict, channels: int, outputs: int) -> Any:
    torch = measure.peer("torch")
    nn, width, levels = torch.nn, config.args.width, config.args.levels

    def double(inside: int, width: int) -> Any:
        layers = []
        for before in (inside, width):
            layers += [nn.Conv2d(before, width, 3, 1, 1, bias=False), _norm(config, width), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [width * 2**level for level in range(levels + 1)]
            self.down = nn.ModuleList(map(double, [channels, *widths[:-1]], widths))
            self.up = nn.ModuleList(nn.ConvTranspose2d(2 * each, each, 2, 2) for each in widths[:-1])
            self.join = nn.ModuleList(double(2 * each, each) for each in widths[:-1])
            self.logits = nn.Linear(width, outputs)

        def forward(self, x):
            skipped = []
            for down in self.down[:-1]:
                x = down(x)
                skipped.append(x)
                x = nn.functional.max_pool2d(x, 2)
            x = self.down[-1](x)
            for level in reversed(range(levels)):
                x = self.join[level](torch.cat([skipped[level], self.up[level](x)], dim=1))
            return self.logits(x.mean((2, 3)))

    return UNet()
