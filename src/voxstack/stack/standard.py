"""List the blocks that come with voxstack, by their full names."""

from voxstack.core.registry import Registry

__all__ = ["REGISTRY", "STANDARD"]

STANDARD = {
    "Addon.v1": "voxstack.stack.nested:NestedAddon",
    "AutoregressiveDecoder.v1": "voxstack.stages.decoder.autoregressive:AutoregressiveDecoder",
    "Decoder.v1": "voxstack.stages.decoder.decoder:Decoder",
    "Encoders.v1": "voxstack.stages.encoders.encoders:Encoders",
    "Limiter.v1": "voxstack.stages.audio.limiter:Limiter",
    "Pedalboard.v1": "voxstack.stages.audio.pedalboard:Pedalboard",
    "Pitch.v1": "voxstack.stages.audio.pitch:Pitch",
    "Resample.v1": "voxstack.stages.audio.resample:Resample",
    "SequenceBlockContainer.v1": "voxstack.stack.containers:SequenceBlockContainer",
    "StreamablePipeline.v1": "voxstack.stack.containers:StreamablePipeline",
    "StreamableStack.v1": "voxstack.stack.containers:StreamableStack",
    "Tempo.v1": "voxstack.stages.audio.tempo:Tempo",
    "Upsampler.v1": "voxstack.stages.upsampler.repeat:Upsampler",
    "Vocoder.v1": "voxstack.stages.vocoder.vocoder:Vocoder",
}

REGISTRY = Registry(STANDARD)
