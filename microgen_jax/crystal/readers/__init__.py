"""One reader a file format; each gives `points.Points`. `crystal.scan.read_scan` is the door to all."""
