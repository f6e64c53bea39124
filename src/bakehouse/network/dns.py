"""DNS messages: read a question, answer it from the VPC's own names, or say that it is for the world.

Invariant: pure functions; a malformed message gives None, never an exception.
Sources: RFC 1035 (messages), RFC 2308 (negative answers), VPC User Guide, "DNS attributes for your VPC".
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from bakehouse.network.names import (
    find_private_address,
    find_public_address,
    private_dns_name,
    private_domain,
    public_domain,
)

HEADER = struct.Struct(">HHHHHH")
_QUESTION_TAIL = struct.Struct(">HH")
_RESPONSE, _RECURSION_AVAILABLE, _AUTHORITATIVE = 0x8000, 0x0080, 0x0400
_OPCODE_AND_RD = 0x7900
_RECORD_TTL_S = 60
_LONGEST_NAME = 255
_REVERSE = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa")


class RecordType(IntEnum):
    """The record types we answer ourselves."""

    A = 1
    PTR = 12
    ANY = 255


class ResponseCode(IntEnum):
    """RFC 1035's response codes in use."""

    OK = 0
    FORMAT_ERROR = 1
    SERVER_FAILURE = 2
    NAME_ERROR = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5


@dataclass(frozen=True, kw_only=True)
class Question:
    """One query. ``section`` is its bytes as they came; ``name`` is lower case, without the end dot."""

    transaction: int
    flags: int
    name: str
    record_type: int
    record_class: int
    section: bytes


@dataclass(frozen=True, kw_only=True)
class Zone:
    """What a VPC answers itself. ``public``: public address -> the private one, as inside EC2."""

    vpc: IPv4Network
    region: str
    public: Mapping[IPv4Address, IPv4Address]


def parse_query(message: bytes) -> Question | None:
    """Read a query with exactly one question; None for anything else."""
    question = _parse_question(message)
    return None if question is None or question.flags & _RESPONSE else question


def is_reply_to(message: bytes, question: Question, transaction: int) -> bool:
    """Tell whether an upstream's message answers this question, which was sent on under ``transaction``."""
    if len(message) < HEADER.size:
        return False
    number, flags, questions, *_ = HEADER.unpack_from(message)
    if number != transaction or not flags & _RESPONSE:
        return False
    if questions == 0:  # some servers refuse without repeating the question
        return len(message) == HEADER.size
    reply = _parse_question(message)
    return (
        reply is not None
        and reply.name == question.name
        and (reply.record_type, reply.record_class) == (question.record_type, question.record_class)
    )


def with_transaction(message: bytes, transaction: int) -> bytes:
    """The same message under another transaction number."""
    return struct.pack(">H", transaction) + message[2:]


def answer_locally(question: Question, zone: Zone) -> bytes | None:
    """Answer a question about the VPC's own names and addresses; None when it is for the world."""
    if question.record_class != 1:
        return None
    found = _find_address(question.name, zone)
    if found is not None:
        return _respond(question, RecordType.A, found.packed)
    reverse = _find_reverse(question.name, zone)
    if reverse is not None:
        return _respond(question, RecordType.PTR, _encode_name(reverse))
    return None


def failure(question: Question, code: ResponseCode) -> bytes:
    """An empty answer with a response code."""
    flags = _RESPONSE | _RECURSION_AVAILABLE | (question.flags & _OPCODE_AND_RD) | code
    return HEADER.pack(question.transaction, flags, 1, 0, 0, 0) + question.section


def truncated(question: Question) -> bytes:
    """Tell the client to ask again over TCP."""
    flags = _RESPONSE | _RECURSION_AVAILABLE | (question.flags & _OPCODE_AND_RD) | 0x0200
    return HEADER.pack(question.transaction, flags, 1, 0, 0, 0) + question.section


# The answer to a name that would be ours but stands for nothing.
_NOTHING = IPv4Address(0)


def _find_address(name: str, zone: Zone) -> IPv4Address | None:
    label, _, domain = name.partition(".")
    if domain == private_domain(zone.region) or name == private_domain(zone.region):
        address = find_private_address(label)
        return address if address is not None and address in zone.vpc else _NOTHING
    if domain == public_domain(zone.region):
        public = find_public_address(label)
        return _NOTHING if public is None else zone.public.get(public, _NOTHING)
    return None


def _find_reverse(name: str, zone: Zone) -> str | None:
    match = _REVERSE.fullmatch(name)
    if match is None:
        return None
    try:
        address = IPv4Address(".".join(reversed(match.groups())))
    except AddressValueError:
        return None
    return private_dns_name(str(address), zone.region) if address in zone.vpc else None


def _respond(question: Question, kind: RecordType, data: bytes) -> bytes:
    """Answer with one record, with none (another type was asked), or that the name does not exist."""
    exists = data != _NOTHING.packed
    flags = _RESPONSE | _AUTHORITATIVE | _RECURSION_AVAILABLE | (question.flags & _OPCODE_AND_RD)
    flags |= ResponseCode.OK if exists else ResponseCode.NAME_ERROR
    record = b""
    if exists and question.record_type in (kind, RecordType.ANY):
        record = struct.pack(">HHHIH", 0xC00C, kind, 1, _RECORD_TTL_S, len(data)) + data
    header = HEADER.pack(question.transaction, flags, 1, 1 if record else 0, 0, 0)
    return header + question.section + record


def _parse_question(message: bytes) -> Question | None:
    if len(message) < HEADER.size:
        return None
    transaction, flags, questions, *_ = HEADER.unpack_from(message)
    if questions != 1:
        return None
    parsed = _parse_name(message, HEADER.size)
    if parsed is None:
        return None
    name, end = parsed
    if len(message) < end + _QUESTION_TAIL.size:
        return None
    record_type, record_class = _QUESTION_TAIL.unpack_from(message, end)
    return Question(
        transaction=transaction,
        flags=flags,
        name=name,
        record_type=record_type,
        record_class=record_class,
        section=message[HEADER.size : end + _QUESTION_TAIL.size],
    )


def _parse_name(message: bytes, position: int) -> tuple[str, int] | None:
    """Read an uncompressed name (a question has nothing before it to point to)."""
    labels: list[str] = []
    total = 0
    while position < len(message):
        length = message[position]
        position += 1
        if length == 0:
            return ".".join(labels), position
        total += length + 1
        if length > 63 or total > _LONGEST_NAME or position + length > len(message):
            return None
        labels.append(message[position : position + length].decode("latin-1").lower())
        position += length
    return None


def _encode_name(name: str) -> bytes:
    labels = [label.encode() for label in name.split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
