"""Controlling neural level sets: samplers, losses, attacks, surfaces and the benchmark around them."""

from nls.levelset import SampleNetwork, project

__all__ = ["SampleNetwork", "project"]
