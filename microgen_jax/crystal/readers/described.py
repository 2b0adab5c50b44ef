"""What a file holds beyond what is used: entries that only describe are counted, all others are named.

A list a vendor of header fields and columns that do not change what a value means: who, when, with what beam and
camera, how good a pattern was. They are regular expressions on whole names.
"""

import re
from collections.abc import Iterable, Mapping

MAX_NAMED = 20  # lines on things not used, a kind
MAX_COLUMNS = 64  # of a text scan

ANG = (
    r"TEM_PIXperUM|[xyz]-a?star|Working ?Distance|WD|Formula|Info|LatticeConstants|NumberFamilies|hklFamilies"
    r"|ElasticConstants|Categories\d*|OPERATOR|SAMPLEID|SCANID|InterplanarTolerance|SEMVoltage|PhaseDiffFactor_\w+"
    r"|CI_CalcMethod|Use|File|VERSION|NOTES.*|HEADER|COLUMN_(COUNT|UNITS|NOTES|HEADERS)|Column names|GRID"
    r"|Sample(Tilt)?.*|Camera.*|Elevation.*|Azimuth.*|PointGroupID|PGsymID|.*Voltage|Date|Time|ACOM.*|MTEX.*"
    r"|iq|ci|fit|sem( ?signal)?|prias.*|image ?quality|confidence ?index|detector ?intensity"
)
CTF = (
    r"Channel|Prj|Author|JobMode|Euler angles refer.*|Euler|Mag|Coverage|Device|KV|Tilt(Angle|Axis)|ZCells|ZStep"
    r"|Bands|Error|MAD|BC|BS|Z|DetectorOrientationE\d|WorkingDistance|InsertionDistance"
)
CPR = (
    r"(general|maximumindices|semfields|stageposition|edxwindows|phases)\.\w+|job\.(?!cells|grid)\w+"
    r"|phase\d+\.(reference|enabled|a|b|c|alpha|beta|gamma|id\d|numberofreflectors.*|.*formula.*|color)"
    r"|(projectdata|processing|history|imageinfo|hough|camera|indexing)\.?\w*"
    r"|mad|bc|bs|bands|error|reliability|fields\.count"
)
EDAX = (
    r"Camera .*|Notes|Operator|Pattern.*|Sample (ID|Tilt)|Scan ID|Working Distance|Grid Type|IQ|CI|Fit|PRIAS.*|SEM.*"
    r"|Valid|hkl.*|Lattice.*|Formula|Info|Number.*|Laue Group|Point Group|Color|OIM.*|Date|Time"
)
OXFORD = (
    r"Acquisition.*|.*Background.*|Band.*|Beam.*|Bounding.*|Camera.*|Detector.*|Drift.*|Electron.*|Hit Rate|Hough.*"
    r"|Indexing.*|Lens.*|Magnification|Number .*|Pattern.*|Processed.*|Unprocessed.*|Project.*|Relative.*|Site.*"
    r"|Specimen (Label|Notes|Symmetry)|Stage.*|Static.*|TKD.*|Tilt.*|Working.*|Absolute.*|Bands|Error"
    r"|Mean Angular Deviation|Reference|Lattice.*|Database.*|Color|Phase Id|Scan.* Mode|Time.*|Reanaly.*"
)
ORIX = r"grid_type|n[xy]|rotations_per_point|id|color|structure|iq|dp|ci|fit|scores|.*[qQ]uality|z"
BRUKER = (
    r"Camera.*|Detector.*|KV|MAD.*|Magnification|MapStepFactor|.*RadonBandCount|MinIndexedBands|NPoints|OriginalFile"
    r"|Pattern.*|PixelByteCount|SE.*|SampleTilt|StaticBackground|TopClip|UnClipped.*|WD|ZOffset|Grid Type|DD|PC[XY]"
    r"|NIndexedBands|RadonQuality|RawPatterns|[XY] SAMPLE|Formula|LatticeConstants|Setting|AtomPositions|SpaceGroup"
)
DREAM3D = (
    r"Image ?Quality|IQ|Fit|SEM ?Signal|[XY]( Position)?|BC|BS|Bands|Error|MAD|CI|Confidence ?Index|PRIAS.*"
    r"|IPFColou?rs.*|LatticeConstants|NumFeatures|ORIGIN|_.*"
)
TEXT = r"iq|imagequality|fit|sem.*|detectorintensity|bands|error|mad|bc|bs|prias.*|grainid|z|edge.*|integer.*"


def left_over(
    descriptive: str, kinds: Mapping[str, tuple[Iterable[str], Iterable[str]]]
) -> tuple[tuple[str, ...], int]:
    """Return the same as `sort_out` for names of several kinds.

    Args:
      descriptive: pattern of the vendor's descriptive names.
      kinds: for each kind, as in 'column', what the file holds and what the reader used.
    """
    found = [sort_out(names, used, descriptive, kind) for kind, (names, used) in kinds.items()]
    return tuple(line for lines, _ in found for line in lines), sum(passed for _, passed in found)


def sort_out(
    names: Iterable[str],
    used: Iterable[str],
    descriptive: str,
    kind: str,
    reason: str = "no use is known for it",
) -> tuple[tuple[str, ...], int]:
    """Return lines on the names that are neither used nor descriptive, and the number of descriptive ones.

    Args:
      names: names of what the file holds.
      used: names that the reader used.
      descriptive: pattern of the vendor's descriptive names.
      kind: kind of the names, as in 'column'.
      reason: why they are not used.
    """
    rest = [name for name in dict.fromkeys(names) if name and name not in set(used)]
    unknown = [name for name in rest if not re.fullmatch(descriptive, name[:100], re.IGNORECASE)]
    lines = [f"{kind} {name[:80]!r}: {reason}" for name in unknown[:MAX_NAMED]]
    if len(unknown) > MAX_NAMED:
        lines.append(f"{len(unknown) - MAX_NAMED} more of the kind {kind!r}: {reason}")
    return tuple(lines), len(rest) - len(unknown)
