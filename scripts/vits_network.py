"""Build a small VITS network in PyTorch, inference only: what a Piper voice is inside, untrained.

Written from the papers: Kim et al. 2021 (VITS), Shaw et al. 2018 (relative positions), Durkan et al. 2019
(neural spline flows), Kong et al. 2020 (HiFi-GAN), van den Oord et al. 2016 (gated convolutions).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as fun
from torch import Tensor, nn

__all__ = ["GENERATORS", "Options", "Vits"]


@dataclass(frozen=True)
class Generator:
    """Describe a HiFi-GAN: `residual` kernels with their dilations, one or `two` convolutions a step."""

    channels: int
    rates: tuple[int, ...]
    residual: tuple[tuple[int, tuple[int, ...]], ...]
    two: bool


GENERATORS = {
    "low": Generator(64, (8, 8, 4), ((3, (1, 2)), (5, (2, 6)), (7, (3, 12))), False),
    "medium": Generator(128, (8, 8, 4), ((3, (1, 2)), (5, (2, 6)), (7, (3, 12))), False),
    "high": Generator(256, (8, 8, 2, 2), ((3, (1, 3, 5)), (7, (1, 3, 5)), (11, (1, 3, 5))), True),
}


@dataclass(frozen=True)
class Options:
    """Choose a variant; sizes are far below real ones so that tests are quick."""

    quality: str = "medium"
    speakers: int = 1
    stochastic: bool = True
    erase_names: bool = False
    transformers_like: bool = False
    hidden: int = 32
    layers: int = 2
    symbols: int = 40
    seed: int = 0


class ChannelNorm(nn.Module):
    """Normalise [batch, channels, time] over channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, -1)
        mean = x.mean(-1, keepdim=True)
        spread = torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + 1e-5)
        return ((x - mean) / spread * self.norm.weight + self.norm.bias).transpose(1, -1)


class RelativeAttention(nn.Module):
    """Attend with learnt vectors for distances up to `window`, shared by the heads."""

    def __init__(self, channels: int, heads: int = 2, window: int = 4) -> None:
        super().__init__()
        self.heads, self.window, self.width = heads, window, channels // heads
        self.query, self.key, self.value, self.out = (nn.Conv1d(channels, channels, 1) for _ in range(4))
        self.key_distances = nn.Parameter(torch.randn(1, 2 * window + 1, self.width) * self.width**-0.5)
        self.value_distances = nn.Parameter(torch.randn(1, 2 * window + 1, self.width) * self.width**-0.5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, channels, length = x.shape[0], x.shape[1], x.shape[2]

        def split(y: Tensor) -> Tensor:
            return y.view(batch, self.heads, self.width, length).transpose(2, 3)

        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        query = query / math.sqrt(self.width)
        scores = query @ key.transpose(-2, -1)
        near = query @ self._distances(self.key_distances, length).unsqueeze(0).transpose(-2, -1)
        scores = scores + self._to_positions(near)
        weights = scores.masked_fill(mask == 0, -1e4).softmax(-1)
        result = weights @ value
        result = result + self._to_distances(weights) @ self._distances(
            self.value_distances, length
        ).unsqueeze(0)
        return self.out(result.transpose(2, 3).contiguous().view(batch, channels, length))

    def _distances(self, table: Tensor, length: int) -> Tensor:
        pad = max(length - (self.window + 1), 0)
        start = max(self.window + 1 - length, 0)
        return fun.pad(table, (0, 0, pad, pad))[:, start : start + 2 * length - 1]

    def _to_positions(self, x: Tensor) -> Tensor:
        batch, heads, length, _ = x.shape
        x = fun.pad(x, (0, 1)).view(batch, heads, length * 2 * length)
        x = fun.pad(x, (0, length - 1)).view(batch, heads, length + 1, 2 * length - 1)
        return x[:, :, :length, length - 1 :]

    def _to_distances(self, x: Tensor) -> Tensor:
        batch, heads, length, _ = x.shape
        x = fun.pad(x, (0, length - 1)).view(batch, heads, length * length + length * (length - 1))
        return fun.pad(x, (length, 0)).view(batch, heads, length, 2 * length)[:, :, :, 1:]


class Encoder(nn.Module):
    """Turn ids into hidden states and the prior's mean and log deviation."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        size = options.hidden
        self.by_time = options.transformers_like
        self.table = nn.Embedding(options.symbols, size)
        self.attention = nn.ModuleList(RelativeAttention(size) for _ in range(options.layers))
        self.norms = nn.ModuleList(ChannelNorm(size) for _ in range(2 * options.layers))
        self.widen = nn.ModuleList(nn.Conv1d(size, 4 * size, 3, padding=1) for _ in range(options.layers))
        self.narrow = nn.ModuleList(nn.Conv1d(4 * size, size, 3, padding=1) for _ in range(options.layers))
        self.project = nn.Conv1d(size, 2 * size, 1)

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = (self.table(ids) * math.sqrt(self.table.embedding_dim)).transpose(1, -1)
        mask = mask_of(lengths, x.shape[2]).unsqueeze(1).to(x.dtype)
        both = mask.unsqueeze(2) * mask.unsqueeze(-1)
        x = x * mask
        for layer, attention in enumerate(self.attention):
            x = self.norms[2 * layer](x + attention(x, both))
            y = self.narrow[layer](torch.relu(self.widen[layer](x * mask)) * mask) * mask
            x = self.norms[2 * layer + 1](x + y)
        x = x * mask
        if self.by_time:
            stats = self.project(x).transpose(1, 2) * mask.transpose(1, 2)
            mean, log_std = stats.split(x.shape[1], dim=2)
        else:
            mean, log_std = (self.project(x) * mask).split(self.table.embedding_dim, dim=1)
        return x, mean, log_std, mask


class Separable(nn.Module):
    """Mix time by three depthwise convolutions, ever wider, and channels by pointwise ones."""

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        steps = [kernel**layer for layer in range(3)]
        self.depth = nn.ModuleList(
            nn.Conv1d(
                channels, channels, kernel, groups=channels, dilation=step, padding=step * (kernel - 1) // 2
            )
            for step in steps
        )
        self.point = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in steps)
        self.norms = nn.ModuleList(ChannelNorm(channels) for _ in range(2 * len(steps)))

    def forward(self, x: Tensor, mask: Tensor, given: Tensor | None = None) -> Tensor:
        x = x if given is None else x + given
        for layer, depth in enumerate(self.depth):
            y = fun.gelu(self.norms[2 * layer](depth(x * mask)))
            x = x + fun.gelu(self.norms[2 * layer + 1](self.point[layer](y)))
        return x * mask


class SplineFlow(nn.Module):
    """Bend one of two channels by a rational-quadratic spline whose shape the other sets; inverse."""

    def __init__(self, channels: int, bins: int = 10, tail: float = 5.0) -> None:
        super().__init__()
        self.channels, self.bins, self.tail = channels, bins, tail
        self.enter, self.mix = nn.Conv1d(1, channels, 1), Separable(channels)
        self.shape = nn.Conv1d(channels, 3 * bins - 1, 1)

    def forward(self, x: Tensor, mask: Tensor, given: Tensor) -> Tensor:
        still, moving = x.split(1, dim=1)
        shape = self.shape(self.mix(self.enter(still), mask, given)) * mask
        batch, _, length = still.shape
        shape = shape.reshape(batch, 1, -1, length).permute(0, 1, 3, 2)
        widths = shape[..., : self.bins] / math.sqrt(self.channels)
        heights = shape[..., self.bins : 2 * self.bins] / math.sqrt(self.channels)
        slopes = fun.pad(shape[..., 2 * self.bins :], (1, 1))
        one = math.log(math.exp(1 - 1e-3) - 1)  # softplus of it, plus the least slope, is 1
        slopes[..., 0] = one
        slopes[..., -1] = one
        inside = (moving >= -self.tail) & (moving <= self.tail)
        result = torch.zeros_like(moving)
        result[~inside] = moving[~inside]
        result[inside] = self._invert(
            moving[inside], widths[inside, :], heights[inside, :], slopes[inside, :]
        )
        return torch.cat([still, result], 1) * mask

    def _knots(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        sizes = 1e-3 + (1 - 1e-3 * raw.shape[-1]) * raw.softmax(-1)
        knots = fun.pad(sizes.cumsum(-1), (1, 0)) * (2 * self.tail) - self.tail
        knots[..., 0] = -self.tail
        knots[..., -1] = self.tail
        return knots, knots[..., 1:] - knots[..., :-1]

    def _invert(self, y: Tensor, widths: Tensor, heights: Tensor, slopes: Tensor) -> Tensor:
        left, width = self._knots(widths)
        low, height = self._knots(heights)
        slopes = 1e-3 + fun.softplus(slopes)
        edges = torch.cat([low[..., :-1], low[..., -1:] + 1e-6], -1)
        place = (y.unsqueeze(-1) >= edges).sum(-1, keepdim=True) - 1
        mean = height / width

        def at(values: Tensor) -> Tensor:
            return values.gather(-1, place)[..., 0]

        first, second, slope, rise = at(slopes), at(slopes[..., 1:]), at(mean), y - at(low)
        bend = rise * (first + second - 2 * slope)
        a = bend + at(height) * (slope - first)
        b = at(height) * first - bend
        c = -slope * rise
        root = 2 * c / (-b - torch.sqrt(b.pow(2) - 4 * a * c))
        return root * at(width) + at(left)


class Durations(nn.Module):
    """Predict log durations: from noise by spline flows, or without noise by two convolutions."""

    def __init__(self, options: Options, given: int) -> None:
        super().__init__()
        size = options.hidden
        self.stochastic = options.stochastic
        self.given = nn.Conv1d(given, size, 1) if given else None
        if self.stochastic:
            self.enter, self.mix, self.leave = (
                nn.Conv1d(size, size, 1),
                Separable(size),
                nn.Conv1d(size, size, 1),
            )
            self.flows = nn.ModuleList(SplineFlow(size) for _ in range(3))
            self.shift, self.scale = (
                nn.Parameter(torch.randn(2, 1) * 0.1 - 1.0),
                nn.Parameter(torch.randn(2, 1) * 0.1),
            )
        else:
            self.first, self.second = (nn.Conv1d(size, size, 3, padding=1) for _ in range(2))
            self.norms = nn.ModuleList(ChannelNorm(size) for _ in range(2))
            self.last = nn.Conv1d(size, 1, 1)
            nn.init.ones_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, mask: Tensor, noise_w: Tensor, g: Tensor | None) -> Tensor:
        if not self.stochastic:
            x = x if g is None or self.given is None else x + self.given(g)
            x = self.norms[0](torch.relu(self.first(x * mask)))
            x = self.norms[1](torch.relu(self.second(x * mask)))
            return self.last(x * mask) * mask
        x = self.enter(x)
        x = x if g is None or self.given is None else x + self.given(g)
        x = self.leave(self.mix(x, mask)) * mask
        z = torch.randn(x.shape[0], 2, x.shape[2]) * noise_w
        for flow in self.flows:
            z = flow(z.flip([1]), mask, x)
        z = (z.flip([1]) - self.shift) * torch.exp(-self.scale) * mask
        return z.split(1, dim=1)[0]


class Coupling(nn.Module):
    """Subtract from one half of the channels what gated convolutions read off the other."""

    def __init__(self, channels: int, hidden: int, given: int, layers: int = 4, kernel: int = 5) -> None:
        super().__init__()
        self.hidden, self.layers = hidden, layers
        self.enter, self.leave = nn.Conv1d(channels // 2, hidden, 1), nn.Conv1d(hidden, channels // 2, 1)
        self.gates = nn.ModuleList(
            nn.Conv1d(hidden, 2 * hidden, kernel, padding=kernel // 2) for _ in range(layers)
        )
        last = layers - 1
        self.results = nn.ModuleList(
            nn.Conv1d(hidden, hidden * (1 if n == last else 2), 1) for n in range(layers)
        )
        self.given = nn.Conv1d(given, 2 * hidden * layers, 1) if given else None

    def forward(self, x: Tensor, mask: Tensor, g: Tensor | None) -> Tensor:
        still, moving = x.split(x.shape[1] // 2, dim=1)
        h = self.enter(still) * mask
        total = torch.zeros_like(h)
        hints = None if g is None or self.given is None else self.given(g)
        for layer in range(self.layers):
            act = self.gates[layer](h)
            start = layer * 2 * self.hidden
            hint = torch.zeros_like(act) if hints is None else hints[:, start : start + 2 * self.hidden]
            act = act + hint
            result = self.results[layer](
                torch.tanh(act[:, : self.hidden]) * torch.sigmoid(act[:, self.hidden :])
            )
            if layer < self.layers - 1:
                h = (h + result[:, : self.hidden]) * mask
                total = total + result[:, self.hidden :]
            else:
                total = total + result
        mean = self.leave(total * mask) * mask
        log_std = torch.zeros_like(mean)
        return torch.cat([still, (moving - mean) * torch.exp(-log_std) * mask], 1)


class HifiGan(nn.Module):
    """Turn latents into samples by transposed convolutions and residual blocks."""

    def __init__(self, inputs: int, plan: Generator, given: int) -> None:
        super().__init__()
        self.two = plan.two
        self.enter = nn.Conv1d(inputs, plan.channels, 7, padding=3)
        self.given = nn.Conv1d(given, plan.channels, 1) if given else None
        self.ups, self.steps = nn.ModuleList(), nn.ModuleList()
        channels = plan.channels
        for rate in plan.rates:
            self.ups.append(nn.ConvTranspose1d(channels, channels // 2, 2 * rate, rate, rate // 2))
            channels //= 2
            stage = nn.ModuleList()
            for kernel, dilations in plan.residual:
                pairs = [(d, 1) if plan.two else (d,) for d in dilations]
                stage.append(
                    nn.ModuleList(
                        nn.ModuleList(
                            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel - 1) // 2)
                            for d in pair
                        )
                        for pair in pairs
                    )
                )
            self.steps.append(stage)
        self.leave = nn.Conv1d(channels, 1, 7, padding=3, bias=False)
        for part in self.modules():  # keep the level from layer to layer, so that errors stay visible
            if isinstance(part, nn.Conv1d | nn.ConvTranspose1d):
                ways = part.weight[0].numel() if isinstance(part, nn.Conv1d) else 2 * channels
                nn.init.normal_(part.weight, std=0.7 * ways**-0.5)

    def forward(self, x: Tensor, g: Tensor | None) -> Tensor:
        x = self.enter(x)
        if g is not None and self.given is not None:
            x = x + self.given(g)
        for up, stage in zip(self.ups, self.steps, strict=True):
            x = up(fun.leaky_relu(x, 0.1))
            total: Tensor | None = None
            for block in stage:  # type: ignore[union-attr]
                y = x
                for convolutions in block:
                    z = y
                    for convolution in convolutions:
                        z = convolution(fun.leaky_relu(z, 0.1))
                    y = y + z
                total = y if total is None else total + y
            assert total is not None
            x = total / len(stage)  # type: ignore[arg-type]
        return torch.tanh(self.leave(fun.leaky_relu(x)))


class Vits(nn.Module):
    """Speak ids: encoder, durations, repetition over frames, flow, decoder."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        given = 16 if options.speakers > 1 else 0
        self.by_time = options.transformers_like
        self.speakers = nn.Embedding(options.speakers, given) if given else None
        self.encoder, self.durations = Encoder(options), Durations(options, given)
        self.flows = nn.ModuleList(Coupling(options.hidden, options.hidden, given) for _ in range(4))
        self.decoder = HifiGan(options.hidden, GENERATORS[options.quality], given)

    def forward(self, ids: Tensor, lengths: Tensor, scales: Tensor, sid: Tensor | None = None) -> Tensor:
        noise, length_scale, noise_w = scales[0], scales[1], scales[2]
        g = None if sid is None or self.speakers is None else self.speakers(sid).unsqueeze(-1)
        x, mean, log_std, mask = self.encoder(ids, lengths)
        w = torch.exp(self.durations(x, mask, noise_w, g)) * mask * length_scale
        w = torch.ceil(w)
        frames = torch.clamp_min(torch.sum(w, [1, 2]), 1).long()
        frames_mask = mask_of(frames, frames.max()).unsqueeze(1).to(x.dtype)
        ends = torch.cumsum(w, -1)
        steps = torch.arange(frames_mask.shape[2], device=w.device).to(w.dtype)
        before = (steps < ends.transpose(1, 2)).to(w.dtype)  # [batch, phonemes, frames]
        path = (before - fun.pad(before, (0, 0, 1, 0))[:, :-1]) * mask.transpose(1, 2) * frames_mask
        path = path.transpose(1, 2)
        if self.by_time:
            mean, log_std = (torch.matmul(path, y).transpose(1, 2) for y in (mean, log_std))
        else:
            mean, log_std = (torch.matmul(path, y.transpose(1, 2)).transpose(1, 2) for y in (mean, log_std))
        z = mean + torch.randn_like(mean) * torch.exp(log_std) * noise
        for flow in reversed(self.flows):
            z = flow(z.flip([1]), frames_mask, g)
        return self.decoder(z * frames_mask, g).unsqueeze(1)


def mask_of(lengths: Tensor, longest: Tensor | int) -> Tensor:
    return torch.arange(longest, device=lengths.device).unsqueeze(0) < lengths.unsqueeze(1)  # type: ignore[arg-type]
