"""Trained models as objects that generate samples."""
