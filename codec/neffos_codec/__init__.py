"""neffos frames to messages and back: a pure codec, without dependency, I/O, clock or state.

>>> from neffos_codec import Message, decode, encode
>>> message = decode("$1;chat;;say;0;0;hi; there")
>>> message
Message(wait='$1', namespace='chat', event='say', body='hi; there')
>>> encode(message.reply("hello"))
'$1;chat;;say;0;0;hello'
"""

from neffos_codec._codec import COMPILED, Message, decode, encode
from neffos_codec._decode import Payload
from neffos_codec._errors import CodecError, DecodeError, EncodeError, Reason
from neffos_codec._handshake import (
    Handshake,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    decode_handshake,
    encode_handshake,
)
from neffos_codec._limits import FrameLimits
from neffos_codec._message import ESCAPE, FIELDS
from neffos_codec._native import NativeMessage
from neffos_codec._options import Decoding, Native
from neffos_codec._utf8 import first_surrogate
from neffos_codec._wait import Wait, WaitKind, WaitTokens, parse_wait

__all__ = [
    "COMPILED",
    "ESCAPE",
    "FIELDS",
    "CodecError",
    "DecodeError",
    "Decoding",
    "EncodeError",
    "FrameLimits",
    "Handshake",
    "HandshakeAccept",
    "HandshakeRefuse",
    "HandshakeRequest",
    "Message",
    "Native",
    "NativeMessage",
    "Payload",
    "Reason",
    "Wait",
    "WaitKind",
    "WaitTokens",
    "decode",
    "decode_handshake",
    "encode",
    "encode_handshake",
    "first_surrogate",
    "parse_wait",
]
