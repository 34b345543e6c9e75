"""Every parser of outside bytes and every command that takes a file, with the inputs that it is tried on."""

from tests.fuzz.targets import images, settings, tables
from tests.fuzz.targets.base import TARGETS, Broken, Input, Target

__all__ = ["TARGETS", "Broken", "Input", "Target", "images", "settings", "tables"]
