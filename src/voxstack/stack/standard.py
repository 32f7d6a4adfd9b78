"""List the blocks that come with voxstack, by their full names."""

from voxstack.core.registry import Registry

__all__ = ["REGISTRY", "STANDARD"]

STANDARD = {
    "Addon.v1": "voxstack.stack.nested:NestedAddon",
    "AlignmentPlot.v1": "voxstack.stages.audio.diagnostics.alignment_plot:AlignmentPlot",
    "AutoregressiveDecoder.v1": "voxstack.stages.decoder.autoregressive:AutoregressiveDecoder",
    "Compare.v1": "voxstack.stages.audio.diagnostics.compare:Compare",
    "CustomizedEncoders.v1": "voxstack.stages.encoders.customized:CustomizedEncoders",
    "Decoder.v1": "voxstack.stages.decoder.decoder:Decoder",
    "Encoders.v1": "voxstack.stages.encoders.encoders:Encoders",
    "Equaliser.v1": "voxstack.stages.audio.equaliser:Equaliser",
    "Fade.v1": "voxstack.stages.audio.fade:Fade",
    "Gain.v1": "voxstack.stages.audio.gain:Gain",
    "Limiter.v1": "voxstack.stages.audio.limiter:Limiter",
    "Loudness.v1": "voxstack.stages.audio.loudness:Loudness",
    "MelPlot.v1": "voxstack.stages.audio.diagnostics.mel_plot:MelPlot",
    "Pedalboard.v1": "voxstack.stages.audio.pedalboard:Pedalboard",
    "Pitch.v1": "voxstack.stages.audio.pitch:Pitch",
    "Probe.v1": "voxstack.stages.audio.diagnostics.probe:Probe",
    "Resample.v1": "voxstack.stages.audio.resample:Resample",
    "SequenceBlockContainer.v1": "voxstack.stack.containers:SequenceBlockContainer",
    "StreamablePipeline.v1": "voxstack.stack.containers:StreamablePipeline",
    "StreamableStack.v1": "voxstack.stack.containers:StreamableStack",
    "Tap.v1": "voxstack.stages.audio.diagnostics.tap:Tap",
    "TelephoneBand.v1": "voxstack.stages.audio.telephone_band:TelephoneBand",
    "Tempo.v1": "voxstack.stages.audio.tempo:Tempo",
    "Timer.v1": "voxstack.stages.audio.diagnostics.timer:Timer",
    "TrimSilence.v1": "voxstack.stages.audio.trim_silence:TrimSilence",
    "Upsampler.v1": "voxstack.stages.upsampler.repeat:Upsampler",
    "Vocoder.v1": "voxstack.stages.vocoder.vocoder:Vocoder",
}

REGISTRY = Registry(STANDARD)
