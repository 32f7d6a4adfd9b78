"""List the blocks that come with voxstack, by their full names."""

from voxstack.core.registry import Registry

__all__ = ["REGISTRY", "STANDARD"]

STANDARD = {
    "AutoregressiveDecoder.v1": "voxstack.stages.decoder.autoregressive:AutoregressiveDecoder",
    "CustomizedEncoders.v1": "voxstack.stages.encoders.customized:CustomizedEncoders",
    "Decoder.v1": "voxstack.stages.decoder.decoder:Decoder",
    "Encoders.v1": "voxstack.stages.encoders.encoders:Encoders",
    "Limiter.v1": "voxstack.stages.audio.limiter:Limiter",
    "SequenceBlockContainer.v1": "voxstack.stack.containers:SequenceBlockContainer",
    "StreamablePipeline.v1": "voxstack.stack.containers:StreamablePipeline",
    "StreamableStack.v1": "voxstack.stack.containers:StreamableStack",
    "Upsampler.v1": "voxstack.stages.upsampler.repeat:Upsampler",
    "Vocoder.v1": "voxstack.stages.vocoder.vocoder:Vocoder",
}

REGISTRY = Registry(STANDARD)
