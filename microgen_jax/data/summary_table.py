"""The content of summary.json as a table, and the warnings that go with it."""

from typing import Any

from rich.table import Table


def table_of(summary: dict[str, Any]) -> Table:
    """Return what a data set holds, a row a fact.

    Args:
      summary: content of summary.json.
    """
    table = Table("", "", show_header=False)
    sizes = list(summary["sizes"].items())
    more = f", and {len(sizes) - 6} more" if len(sizes) > 6 else ""
    table.add_row("source", f"{summary['source']}, {summary['dtype']}, {summary['channels']} channels")
    table.add_row("images", f"{summary['count']} ({summary['looked_at']} looked at)")
    table.add_row("classes", ", ".join(f"{name} {n}" for name, n in summary["classes"].items()))
    table.add_row("sizes", ", ".join(f"{size} ({n})" for size, n in sizes[:6]) + more)
    table.add_row("modes", ", ".join(f"{mode} ({n})" for mode, n in summary["modes"].items()))
    table.add_row("values", _values(summary["values"]))
    if summary["copied_channels"]:
        table.add_row("copied channels", f"in {summary['copied_channels']} images: data.channels=1 is enough")
    if summary["channels"] == 3 and all(mode.startswith("1 channel,") for mode in summary["modes"]):
        table.add_row("grey", "every image has one channel: data.channels=1 is enough")
    by = f", split by {summary['split']['by']}" if summary["split"]["by"] else ""
    table.add_row("split", f"{summary['split']['train']} train, {summary['split']['holdout']} held out{by}")
    for name, (mean, std) in summary["conditions"].items():
        low, high = summary["condition_ranges"][name]
        spread = f"{low:g} to {high:g}, mean {mean:.4g}, standard deviation {std:.4g} in training"
        if low == high:
            spread = f"{low:g} in all of training: nothing can be learnt from it"
        table.add_row(f"condition, {name}", spread)
    for name, elements in summary["augmentation"].items():
        table.add_row(f"augmentation, {name}", ", ".join(elements))
    table.add_row("augmentation", summary["augmentation_why"])
    if summary["augmentation_risk"]:
        table.add_row("augmentation, risk", summary["augmentation_risk"])
    table.add_row(
        "flat neighbours", f"{summary['flat_share']:.1%} of pixel pairs differ by 24 of 255 at most"
    )
    if "off_key" in summary:
        shares = summary["off_key"]
        table.add_row(
            "off the colour key",
            f"{shares['source']:.2%}, as trained {shares['resampled']:.2%};"
            f" bilinear resampling would make it {shares['bilinear']:.2%}",
        )
    if "grains" in summary:
        found = summary["grains"]
        tiles = f"; {found['per_tile']:.1f} a tile" if "per_tile" in found else ""
        table.add_row("grains", f"{_grain_line(found)}{tiles}; {found['method']}")
    if summary["pixel_size_um"]:
        table.add_row("pixel size", f"{summary['pixel_size_um']:g} um")
    for scan in summary["scans"]:
        table.add_row("scan", _scan_line(scan))
    for entry in summary["refused"]:
        table.add_row("refused", f"{entry['file']}: {entry['reason']}")
    for note in (*summary["notes"], *summary["overlaps"]["notes"]):
        table.add_row("note", note)
    for line in summary["unused"]:
        table.add_row("not used", line)
    return table


def warnings_of(summary: dict[str, Any]) -> list[str]:
    """Return sentences about near copies and overlaps of held-out and training images.

    Args:
      summary: content of summary.json.
    """
    found = list(summary["overlaps"]["warnings"])
    if summary["leaks"]:
        worst = summary["leaks"][0]
        split_by = summary["split"]["by"]
        mend = f"they are split by {split_by!r}" if split_by else "set data.split_by"
        copies = (
            f"{len(summary['leaks'])} held-out images are near copies of training images, such as "
            f"{worst['a']} and {worst['b']} (correlation {worst['correlation']:.3f}); {mend}"
        )
        found.insert(0, copies)
    return found


def _values(found: dict[str, tuple[float, float]]) -> str:
    return ", ".join(
        f"{low:g} to {high:g}" + (f" ({depth})" if len(found) > 1 else "")
        for depth, (low, high) in found.items()
    )


def _scan_line(scan: dict[str, Any]) -> str:
    phases = ", ".join(
        f"{phase['name'] or f'phase {number}'} ({phase['laue_group'] or 'no Laue group'}) {phase['share']:.1%}"
        for number, phase in scan["phases"].items()
    )
    size = f"{scan['pixel_size_um']:g} um" if scan["pixel_size_um"] else "pixel size unknown"
    shape = "x".join(map(str, scan["size"]))
    return f"{scan['scan']}: {shape} px, {size}, {scan['unindexed']:.1%} unindexed, {phases}; {_grain_line(scan)}"


def _grain_line(found: dict[str, Any]) -> str:
    if not found["whole"]:
        return f"{found['grains']} grains, all cut by an edge"
    in_um = f" = {found['mean_diameter_um']:.3g} um" if found["mean_diameter_um"] else ""
    line = (
        f"{found['grains']} grains, mean diameter {found['mean_diameter']:.1f} px{in_um} of {found['whole']} whole ones"
        f" ({found['mean_diameter_edge_corrected']:.1f} px corrected for the edge)"
    )
    return f"{line}; {found['note']}" if found["note"] else line
