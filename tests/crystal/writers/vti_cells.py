import base64
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

TYPES = {"Int32": "<i4", "Float64": "<f8", "UInt8": "u1"}


def read_vti(path: Path) -> tuple[dict[str, np.ndarray], ElementTree.Element]:
    """Return the arrays, rows as in the file (y up), and the ImageData element."""
    image = ElementTree.fromstring(path.read_bytes()).find("ImageData")
    _, width, _, height, _, layers = map(int, image.attrib["WholeExtent"].split())
    assert layers == 1
    arrays = {}
    for element in image.iter("DataArray"):
        content = base64.b64decode(element.text)
        assert int.from_bytes(content[:8], "little") == len(content) - 8
        values = np.frombuffer(content[8:], TYPES[element.attrib["type"]])
        parts = int(element.attrib["NumberOfComponents"])
        arrays[element.attrib["Name"]] = values.reshape(height, width, *([parts] if parts > 1 else []))
    return arrays, image
