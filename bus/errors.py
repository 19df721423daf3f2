"""What can go wrong on the bus, as a caller sees it; and the base of all errors that a user can do something about."""

from __future__ import annotations


class Explained(Exception):
    """Its text tells a user what is wrong, where, and what to do next: the command line shows it alone, without a traceback."""


class BusError(Explained):
    """Base of every error of the bus."""


class BusUnreachable(BusError):
    """No broker answered within the deadline."""


class BusClosed(BusError):
    """The client was closed, or its I/O thread ended."""


class PublishTimeout(BusError):
    """Not acknowledged within the deadline. It may still be journalled later: publishing again under the same id is safe."""


class StaleLease(BusError):
    """The delivery belongs to somebody else by now (a later attempt): its results are refused."""


class Refused(BusError):
    """The broker said no: a name, topic or source the key may not use, a malformed or oversized message, a replaced client."""


class RequestFailed(BusError):
    """A request ended without a reply because its receiver gave up; the text carries the cause."""


class RequestTimeout(BusError):
    """A request's deadline passed."""


class Malformed(BusError):
    """Bytes that are not a frame or an envelope of this protocol; the text says which field and value."""


class AddressInUse(BusError):
    """Another live broker listens at this address."""


class JournalInUse(BusError):
    """Another live broker writes this journal."""


class JournalFailed(BusError):
    """The journal could not be read or written. The broker stops; nothing was acknowledged that is not on disk."""
