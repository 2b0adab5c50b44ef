"""Readers of EBSD files, one a format; each returns `points.Points`. `crystal.read_map` chooses among them."""
