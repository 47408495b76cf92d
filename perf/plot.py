"""Draw the comparison: ``python plot.py results.json comparison.png``, in an environment that has matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {
    "s3dlio": "#0b5fa5",
    "s3dlio-s3": "#7fb2dd",
    "reference": "#d1495b",
    "obstore": "#edae49",
    "s3torch": "#66a182",
    "boto3": "#8d96a3",
    "azure-sdk": "#8d96a3",
    "google-sdk": "#8d96a3",
    "floor": "#2e4057",
}


def label(value: float, unit: str, kind: str) -> str:
    if kind == "rate":
        return f"{value / 1e9:.2f} GB/s" if unit == "byte" else f"{value:,.0f}/s"
    return f"{value * 1e9:.2f} s/GB" if unit == "byte" else f"{value * 1e6:.0f} us"


def draw(results: dict[str, Any], target: Path) -> None:
    """One small panel of bars for each row, the rates on the left and the CPU time on the right."""
    rows = results["rows"]
    heights = [len(row["contenders"]) for row in rows]
    figure, axes = plt.subplots(
        len(rows), 2, figsize=(12, 0.27 * sum(heights) + 0.5 * len(rows) + 1), squeeze=False,
        gridspec_kw={"height_ratios": heights}, layout="constrained",
    )  # fmt: skip
    for row, pair in zip(rows, axes, strict=True):
        names = list(row["contenders"])[::-1]
        for axis, kind in zip(pair, ("rate", "cpu"), strict=True):
            values = [row["contenders"][name][kind] for name in names]
            axis.barh(names, values, color=[COLOURS.get(name, "#999999") for name in names])
            for at, value in enumerate(values):
                axis.text(value, at, " " + label(value, row["unit"], kind), va="center", fontsize=8)
            axis.set_xlim(0, max(values) * 1.2)
            axis.set_xticks([])
            axis.tick_params(axis="y", labelsize=8, length=0)
            axis.spines[["top", "right", "bottom"]].set_visible(False)
        pair[0].set_title(row["name"], loc="left", fontsize=9, fontweight="bold")
    axes[0][0].set_title("rate: more is better", loc="right", fontsize=9)
    axes[0][1].set_title("CPU time for the same work: less is better", loc="right", fontsize=9)
    figure.suptitle(f"{results['machine']}, {results['date']}", fontsize=9)
    figure.savefig(target, dpi=100)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
