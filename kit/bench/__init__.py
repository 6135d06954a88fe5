"""Measure the speed of a config on this machine: bottleneck, and settings that make it faster."""
