"""Cut a SpeechT5 model into the nets of an addon: encoder, decoder step with its caches, postnet."""

from typing import Any

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet, net_of, ragged
from voxstack.importers.graphs.reach import measure_reach
from voxstack.importers.graphs.speed import speed_up
from voxstack.importers.torch_export import Axes, Example, export_graph

__all__ = ["cut_speecht5", "encode", "guided_heads", "refine", "step"]


def cut_speecht5(model: Any) -> dict[str, CutNet]:
    """Return the nets `encoder`, `step` and `postnet` of a SpeechT5ForTextToSpeech in float32."""
    return {"encoder": _encoder_net(model), "step": _step_net(model), "postnet": _postnet(model)}


def _encoder_net(model: Any) -> CutNet:
    import torch  # pyright: ignore[reportMissingImports]

    ids = torch.arange(2 * 11).reshape(2, 11) % 7
    inputs = {
        "ids": Example(ids, ("batch", "phonemes")),
        "phonemes_mask": Example(torch.ones(2, 11), ("batch", "phonemes")),
    }
    outputs: dict[str, Axes] = {"attended": ("batch", "phonemes"), **_caches(model, "memory", "phonemes")}
    graph = export_graph(model, inputs, outputs, call=encode)
    return net_of(graph, role="encoder", ragged=ragged("phonemes", chunkable=False, mask="phonemes_mask"))


def _step_net(model: Any) -> CutNet:
    import torch  # pyright: ignore[reportMissingImports]

    config = model.config
    bands = config.num_mel_bins
    layers, units = config.speech_decoder_prenet_layers, config.speech_decoder_prenet_units
    memory, past = _caches(model, "memory", "phonemes"), _caches(model, "past", "past")
    sizes = {"batch": 2, "phonemes": 11, "past": 5}

    def example(axes: Axes) -> Example:
        return Example(torch.randn([sizes.get(a, 1) if isinstance(a, str) else a for a in axes]), axes)

    inputs = {
        "last_frame": example(("batch", bands)),
        "position": Example(torch.tensor(5), ()),
        "dropout": Example(torch.rand(layers, 2, units), (layers, "batch", units), random="uniform"),
        "speaker_embedding": example(("batch", config.speaker_embedding_dim)),
        "phonemes_mask": Example(torch.ones(2, 11), ("batch", "phonemes")),
        "attended": Example(torch.ones(2, 11), ("batch", "phonemes")),
        **{name: example(axes) for name, axes in (memory | past).items()},
    }
    outputs: dict[str, Axes] = {
        "mel_before": ("batch", config.reduction_factor, bands),
        "stop": ("batch",),
        "alignment": ("batch", "phonemes"),
        "last_frame_next": ("batch", bands),
        **{f"{name}_next": axes for name, axes in _caches(model, "past", "past+1").items()},
    }
    graph = export_graph(model, inputs, outputs, call=step)
    return net_of(
        graph,
        role="step",
        ragged=ragged("phonemes", chunkable=False, mask="phonemes_mask"),
        random={name: example.random for name, example in inputs.items()},
        state={name: f"{name}_next" for name in ("last_frame", *past)},
    )


def _postnet(model: Any) -> CutNet:
    import torch  # pyright: ignore[reportMissingImports]

    axes: Axes = ("batch", model.config.num_mel_bins, "frames")
    example = Example(torch.randn(2, model.config.num_mel_bins, 37), axes)
    graph = export_graph(model, {"mel_before": example}, {"mel": axes}, call=refine)
    reach = measure_reach(graph, "frames")
    if reach.obstacle is not None:
        raise ImporterError(f"the postnet cannot be cut into windows: {reach.obstacle}")
    speed_up(graph)
    # The step before it, with a cache that grows, has no fixed sizes, so it need not be the same at all.
    along = ragged("frames", chunkable=True, context=reach.context, least=1)
    return net_of(graph, role="decoder", ragged=along)


def _caches(model: Any, kind: str, axis: str) -> dict[str, Axes]:
    """Return names and axes of the keys and values of every decoder layer."""
    heads = model.config.decoder_attention_heads
    axes: Axes = ("batch", heads, axis, model.config.hidden_size // heads)
    layers = range(model.config.decoder_layers)
    return {f"{kind}_{what}_{layer}": axes for layer in layers for what in ("keys", "values")}


def encode(model: Any, ids: Any, mask: Any) -> tuple[Any, ...]:
    """Read the text once: which ids count, then each decoder layer's keys and values of it.

    The library leaves ids that are the padding token out of every attention, wherever they stand.
    """
    import torch  # pyright: ignore[reportMissingImports]

    config, encoder = model.config, model.speecht5.encoder
    attended = (ids != config.pad_token_id).to(mask.dtype)
    prenet, inner = encoder.prenet, encoder.wrapped_encoder
    places = torch.arange(ids.shape[1], device=ids.device)
    scaled = prenet.encode_positions
    hidden = inner.layer_norm(prenet.embed_tokens(ids) + scaled.alpha * scaled.pe[0].index_select(0, places))
    bias = inner.embed_positions(hidden)
    unseen = _unseen(attended * mask, hidden.dtype)[:, None, None, :]
    unseen = unseen.expand(-1, 1, ids.shape[1], -1)
    for layer in inner.layers:
        hidden = layer(hidden, attention_mask=unseen, position_bias=bias)[0]
    caches = []
    for layer in model.speecht5.decoder.wrapped_decoder.layers:
        attention = layer.encoder_attn
        caches += [
            _by_head(attention, attention.k_proj(hidden)),
            _by_head(attention, attention.v_proj(hidden)),
        ]
    return attended, *caches


def step(
    model: Any,
    last_frame: Any,
    position: Any,
    noise: Any,
    speaker: Any,
    mask: Any,
    attended: Any,
    *caches: Any,
) -> tuple[Any, ...]:
    """Make the next frames from the last one, and from what the layers have seen until now.

    In:       noise   uniform; the library's prenet keeps what is below its dropout and drops the rest, always
              caches  keys and values of the text, layer by layer; then those of the steps before
    """
    import torch  # pyright: ignore[reportMissingImports]

    config, decoder = model.config, model.speecht5.decoder
    prenet, layers, final = decoder.prenet, decoder.wrapped_decoder.layers, model.speech_decoder_postnet
    hidden, keep = last_frame, config.speech_decoder_prenet_dropout
    for place, layer in enumerate(prenet.layers):
        hidden = torch.relu(layer(hidden))
        hidden = torch.where(noise[place] < keep, hidden, torch.zeros_like(hidden)) * (1 / (1 - keep))
    scaled = prenet.encode_positions
    place = torch.clamp(position, max=scaled.max_len - 1).reshape(1)
    hidden = prenet.final_layer(hidden) + scaled.alpha * scaled.pe[0].index_select(0, place)
    hidden = torch.relu(prenet.speaker_embeds_layer(torch.cat([hidden, speaker], dim=-1)))[:, None]
    unseen = _unseen(attended * mask, hidden.dtype)[:, None, None, :]
    memory, past = caches[: 2 * len(layers)], caches[2 * len(layers) :]
    after: list[Any] = []
    weights: list[Any] = []
    for number, layer in enumerate(layers):
        own = layer.self_attn
        keys = torch.cat([past[2 * number], _by_head(own, own.k_proj(hidden))], dim=2)
        values = torch.cat([past[2 * number + 1], _by_head(own, own.v_proj(hidden))], dim=2)
        after += [keys, values]
        result, _ = _attend(own, hidden, keys, values)
        hidden = layer.self_attn_layer_norm(hidden + result)
        result, read = _attend(layer.encoder_attn, hidden, memory[2 * number], memory[2 * number + 1], unseen)
        weights.append(read[:, : guided_heads(config), 0])
        hidden = layer.encoder_attn_layer_norm(hidden + result)
        hidden = layer.final_layer_norm(hidden + layer.feed_forward(hidden))
    hidden = hidden[:, 0]
    frames = final.feat_out(hidden).reshape(-1, config.reduction_factor, config.num_mel_bins)
    stop = torch.sigmoid(final.prob_out(hidden)).sum(-1)
    return frames, stop, torch.cat(weights, dim=1).mean(1), frames[:, -1], *after


def refine(model: Any, mel: Any) -> Any:
    """Add what the postnet's convolutions say to a mel [batch, bands, frames]."""
    change = mel
    for layer in model.speech_decoder_postnet.layers:
        change = layer(change)
    return mel + change


def guided_heads(config: Any) -> int:
    """Return how many heads of each layer follow the text.

    A guided attention loss is what makes them do so in training, and it looks at these alone; the others
    may look wherever it helps. Without such a loss all are as good.
    """
    guided = config.guided_attention_loss_num_heads if config.use_guided_attention_loss else None
    return min(guided or config.decoder_attention_heads, config.decoder_attention_heads)


def _unseen(seen: Any, dtype: Any) -> Any:
    """Return what is added to attention scores: nothing where `seen` is 1, else the least number there is."""
    import torch  # pyright: ignore[reportMissingImports]

    return (1 - seen).to(dtype) * torch.finfo(dtype).min


def _by_head(attention: Any, projected: Any) -> Any:
    shape = (projected.shape[0], projected.shape[1], attention.num_heads, attention.head_dim)
    return projected.reshape(shape).transpose(1, 2)


def _attend(attention: Any, hidden: Any, keys: Any, values: Any, unseen: Any = None) -> tuple[Any, Any]:
    """Return an attention's result [batch, 1, hidden] and its weights [batch, heads, 1, read]."""
    scores = _by_head(attention, attention.q_proj(hidden) * attention.scaling) @ keys.transpose(2, 3)
    weights = (scores if unseen is None else scores + unseen).softmax(-1)
    joined = (weights @ values).transpose(1, 2).reshape(hidden.shape[0], 1, attention.embed_dim)
    return attention.out_proj(joined), weights
