"""Training of DIN end to end with ``pipelines/train.py``, against a bare loop over the same batches, model and optimizer.

    python benchmarks/train.py [repetitions]

The log is generated in the shape of Amazon Electronics: 63,001 items, 801 categories, mean history 9, capped at 100. ``train.py`` runs as a
user runs it: Lightning, MLflow, system metrics, and the progress bar on a pseudo-terminal. Both sides alternate in processes of their own,
because these machines are noisy; the ratio of the medians is the figure.
"""

import contextlib
import os
import pty
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHAPE = [
    "data=synthetic",
    "data.name=electronics_shape",
    "data.num_users=60000",
    "data.num_items=63001",
    "data.num_categories=801",
    "data.num_impressions=800000",
    "data.mean_history=9.0",
    "model=din",
    "model.embedding_dim=32",
    "model.attention_hidden_units=[80,40]",
    "model.hidden_units=[80,40]",
    "trainer=quick",
    "trainer.batch_size=1024",
    "trainer.max_history=100",
]


def bare(home: str, shape: list[str]) -> None:
    """Run the loop alone on the prepared data and print the rows/s of one epoch."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from clickflow.cli.compose import composed_config
    from clickflow.config import validate
    from clickflow.data.dataset import BatchLoader
    from clickflow.data.prepare import prepare
    from clickflow.runs.config import RunConfig
    from clickflow.training.optimizers import build_optimizer

    config = validate(RunConfig, composed_config("train", [f"home={home}", *shape]))
    dataset = prepare(config.data, config.protocol, config.home)
    torch.manual_seed(0)
    model = config.model.build(dataset.schema)
    optimizer = build_optimizer(config.optimizer, model)
    loader = BatchLoader(dataset.split("train"), batch_size=config.trainer.batch_size, max_history=config.trainer.max_history, seed=0)
    rows, start = 0, time.perf_counter()
    for batch in loader:
        loss = binary_cross_entropy_with_logits(model(batch).logit, batch.label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rows += len(batch)
    print(f"rows_per_second {rows / (time.perf_counter() - start):.0f}")


def rate(command: list[str], pattern: str) -> float:
    """Run a command on a pseudo-terminal, so that its progress bar is drawn, and return the rows/s that it prints."""
    main, terminal = pty.openpty()
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, cwd=ROOT)
    os.close(terminal)
    output = b""
    with contextlib.suppress(OSError):  # Linux raises it when the other end closes
        while chunk := os.read(main, 65536):
            output += chunk
    os.close(main)
    text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", output.decode())
    found = re.search(pattern, text)
    assert process.wait() == 0, text
    assert found is not None, text
    return float(found[1].replace(",", ""))


def main(repetitions: int) -> None:
    """Alternate the two and print medians and their ratio."""
    with tempfile.TemporaryDirectory() as home:
        subprocess.run(
            [sys.executable, "pipelines/prepare.py", f"home={home}", *SHAPE[:7]], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        loop, pipeline = [], []
        for _ in range(repetitions):
            loop.append(rate([sys.executable, __file__, "bare", home, *SHAPE], r"rows_per_second ([\d.]+)"))
            pipeline.append(rate([sys.executable, "pipelines/train.py", f"home={home}", *SHAPE], r"(?s)best epoch.*?(\d[\d,]*)\s+rows/s"))
            print(f"bare loop {loop[-1]:,.0f} rows/s, pipelines/train.py {pipeline[-1]:,.0f} rows/s", flush=True)
    ratio = statistics.median(pipeline) / statistics.median(loop)
    print(
        f"median: bare loop {statistics.median(loop):,.0f}, pipelines/train.py {statistics.median(pipeline):,.0f} rows/s, ratio {ratio:.3f}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        bare(sys.argv[2], sys.argv[3:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
