"""The report of a comparison: one HTML page with its charts as SVG."""

from microgen_jax.evaluation.report.page import ReportContent, render

__all__ = ["ReportContent", "render"]
