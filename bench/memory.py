"""Peak memory of integrated gradients on 512 tokens, by token budget, each in a process of its own.

    python -m bench.memory MODEL BUDGET

prints the megabytes that the process held at most while explaining, over the model at rest. Linux only: the kernel
keeps the peak, and lets a process start it anew.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import saliently

WORD = "good "


def added(model: str, budget: int) -> float:
    """Megabytes over what the process holds once the model has explained one short text."""
    command = [sys.executable, "-m", "bench.memory", model, str(budget)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(name: str, budget: int) -> float:
    """As `added`, in this process."""
    model = saliently.load(name)
    saliently.explain(model, WORD, "integrated-gradients(steps=1)")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _held("VmRSS")
    text = WORD * (model.read({"text": WORD * 2000}, truncate=True).truncated or (0, 512))[1]
    options = saliently.Options(truncate=True, budget=budget)
    explanation = saliently.explain(model, text, "integrated-gradients", options=options)
    assert len(explanation.tokens.ids) == 512, len(explanation.tokens.ids)
    return _held("VmHWM") - before


def _held(key: str) -> float:
    """Megabytes by the kernel's count."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    print(measure(sys.argv[1], int(sys.argv[2])))
