"""Controlling neural level sets: samplers, losses, attacks, surfaces and the benchmark around them."""
