"""Draw the curve: ``python plot_curve.py curve.json curve.png``, in an environment that has matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def draw(results: dict[str, Any], target: Path) -> None:
    """CPU time of one object over its size, both axes logarithmic."""
    figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
    for name, points in results["lines"].items():
        sizes, costs = zip(*points, strict=True)
        axis.plot(sizes, costs, marker="o", markersize=3, label=name)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    ticks = [1 << power for power in range(10, 27, 2)]
    axis.set_xticks(ticks, [f"{tick >> 20} MiB" if tick >= 1 << 20 else f"{tick >> 10} KiB" for tick in ticks])
    axis.set_ylabel("CPU time of one object, us")
    axis.grid(visible=True, which="both", linewidth=0.3)
    axis.legend(fontsize=8)
    axis.set_title(results["machine"], fontsize=9)
    figure.savefig(target, dpi=100)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
