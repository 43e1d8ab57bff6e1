"""A small stand-in for Klar on loopback, for tests and for users who try a mapping before they load for real.

It is made from Klar's help pages alone and shares nothing with the target, so that the two check each other.
"""

from target_klar.sandbox.faults import FAULTS, Fault, Misbehaviour
from target_klar.sandbox.klar import Refused
from target_klar.sandbox.stand_in import Moment, Sandbox
from target_klar.sandbox.traffic import Request

__all__ = ["FAULTS", "Fault", "Misbehaviour", "Moment", "Refused", "Request", "Sandbox"]
