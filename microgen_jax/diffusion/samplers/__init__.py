"""Samplers: one scan, and the step functions that it runs."""
