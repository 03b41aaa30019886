"""Runs in an environment with weaver-core: what its own loader makes of files, as an npz file.

Called as ``python weaver_loader.py CONFIG OUTPUT FILE [FILE ...]``.
"""

from __future__ import annotations

import sys

import numpy as np


def main(config: str, output: str, files: list[str]) -> None:
    from weaver.utils.dataset import SimpleIterDataset

    data = SimpleIterDataset(
        {"_": files},
        config,
        for_training=False,
        load_range_and_fraction=((0, 1), 1, 1),
        fetch_by_files=False,
        fetch_step=1,
        async_load=False,
        name="test",
    )
    rows = list(data)
    arrays = {f"input__{name}": np.stack([row[0][name] for row in rows]) for name in data.config.input_names}
    arrays |= {f"label__{name}": np.stack([row[1][name] for row in rows]) for name in data.config.label_names}
    arrays |= {f"observer__{name}": np.stack([row[2][name] for row in rows]) for name in data.config.z_variables}
    np.savez(output, **arrays)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
