"""Find a format by its name: one of OpenAI's, or one that says rate and bit rate, as ElevenLabs has them."""

from dataclasses import replace

from voxstack.core.errors import RequestError, suggest
from voxstack.server.encoding import FORMATS, Format
from voxstack.server.mp3 import Mp3
from voxstack.server.sndfile import Opus, Sndfile

__all__ = ["OUTPUT_FORMATS", "output_format", "pcm_as_made"]

PCM_RATES = (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MP3_KBITS = {22_050: (32,), 44_100: (32, 64, 96, 128, 192)}
OPUS_KBITS = (32, 64, 96, 128, 192)
OPUS_RATE = 48_000
TELEPHONE_RATE = 8000
TELEPHONE = {"ulaw": "audio/basic", "alaw": "audio/x-alaw-basic"}

MP3_RANGES = ((32_000, 32, 320), (16_000, 8, 160))
"""Of a lowest rate in Hz: the kbit/s that libsndfile's highest and lowest compression have."""

MOST_COMPRESSION = 0.999
"""libsndfile takes less than 1 for MP3, and the nearest rate that there is."""

OPUS_RANGE = (6, 256)


def output_format(name: str) -> Format:
    """Return a format.

    Raises:   RequestError if there is none of the name
    Example:
        >>> output_format("pcm_16000").rates, output_format("mp3_44100_128").media_type
        ((16000,), 'audio/mpeg')
    """
    if name not in OUTPUT_FORMATS:
        raise RequestError(f"no format '{name}'{suggest(name, OUTPUT_FORMATS)}", where="format")
    return OUTPUT_FORMATS[name]


def pcm_as_made() -> Format:
    """Return raw samples at whatever rate a voice has."""
    return replace(FORMATS["pcm"], rates=())


def _mp3(rate: int, kbits: int) -> Format:
    low, high = next((low, high) for least, low, high in MP3_RANGES if rate >= least)
    level = min(1 - (kbits - low) / (high - low), MOST_COMPRESSION)
    return replace(
        FORMATS["mp3"],
        name=f"mp3_{rate}_{kbits}",
        open=lambda rate: Mp3(rate, level),
        rates=(rate,),
    )


def _opus(kbits: int) -> Format:
    low, high = OPUS_RANGE
    level = 1 - (kbits - low) / (high - low)
    return replace(
        FORMATS["opus"],
        name=f"opus_{OPUS_RATE}_{kbits}",
        open=lambda rate: Opus(rate, level),
        rates=(OPUS_RATE,),
    )


def _telephone(law: str) -> Format:
    return Format(
        f"{law}_{TELEPHONE_RATE}",
        TELEPHONE[law],
        lambda rate: Sndfile(rate, "RAW", law.upper()),
        is_heavy=False,
        rates=(TELEPHONE_RATE,),
    )


OUTPUT_FORMATS = {
    kind.name: kind
    for kind in (
        *FORMATS.values(),
        *(_mp3(rate, kbits) for rate, choices in MP3_KBITS.items() for kbits in choices),
        *(_opus(kbits) for kbits in OPUS_KBITS),
        *(
            replace(FORMATS[kind], name=f"{kind}_{rate}", rates=(rate,))
            for kind in ("pcm", "wav")
            for rate in PCM_RATES
        ),
        *map(_telephone, TELEPHONE),
    )
}
"""By name."""
