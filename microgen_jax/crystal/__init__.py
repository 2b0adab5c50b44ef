"""Crystallography and grain geometry: numpy, scipy and h5py only."""
