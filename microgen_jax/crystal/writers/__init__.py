"""Writers of EBSD maps: a file a format, called by `maps.write_map`.

Each is `write(path, scan) -> notes`: it writes whole files, and the notes say, a line each, what the format cannot hold
or what was decided.
"""
