"""How far a change in the last place moves the scores of CMS's networks, and what another order of sums does.

    python -m benchmarks.rounding ../shared/data docs

writes tables of ``docs/models.md`` and ``docs/scaling.md``, and cards. ``../shared/data`` holds ``cms/pfnano.root`` and
the networks in ``models/``; lines and cards of networks that are not there stay as they are, as does the line of
OpenVINO where that is not installed. The jets are those of the file.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cms_networks import NETWORKS
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.inference.conditioning import INPUTS, RoundingResponse, measured_response, response_of
from jettagger.inference.network import evaluate
from jettagger.inference.padding import as_run
from jettagger.inputs.batching import make_batches, tabulate
from jettagger.inputs.group_rows import entering
from jettagger.sessions import OrtSession, Session, open_onnx, open_openvino
from jettagger.sessions.cpusteps import make_cut_session
from jettagger.sessions.rewriting.cancelling import cut_at

#: network -> its file
FILES = {name: file for name, (file, _, _) in NETWORKS.items()} | {
    name: f"{name}/model.onnx" for name in ("part-ak8-2023", "particlenet-ak4", "part-ak4")
}


def jets_of(data: Path, name: str) -> Iterator[tuple[Bundle, list[dict[str, Any]]]]:
    """The bundle of a network, and its inputs of all jets of the file; the folder is gone afterwards."""
    from jettagger.files.root import EventFile
    from jettagger.tagging.tagger import load_tagger

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "network"
        file = data / "models" / FILES[name]
        shutil.copytree(file.parent, folder, ignore=shutil.ignore_patterns("*.onnx"))
        shutil.copy(file, folder / "model.onnx")
        tagger = load_tagger(folder, threads=1)
        bundle = as_run(tagger.bundle)
        with EventFile(data / "cms/pfnano.root") as opened:
            events = opened.read(tagger.check(opened).columns)
        runs = []
        for selection in tagger.request(events).blocks():
            features: dict[str, Any] = {}
            inside = entering(bundle, selection.jets, features)
            tables = tabulate(bundle.groups, selection.jets, bundle.card.nonfinite, features, inside.rows)
            tables = tuple(table.of(inside.jets) for table in tables)
            runs += [dict(batch.inputs) for batch in make_batches(tables, pad_mode=bundle.card.pad_mode)]
        yield bundle, runs


def response(data: Path, name: str) -> RoundingResponse:
    """What is measured of a network with the jets of the file."""
    for bundle, runs in jets_of(data, name):
        return measured_response(bundle, runs)
    raise ValueError(name)


def figures(found: RoundingResponse) -> dict[str, float]:
    """What a card says: of each jet the largest change of a probability, whatever is changed."""
    changes = np.max([change[:, 0] for change in found.changes.values()], axis=0)
    median, q99, largest = np.quantile(changes, (0.5, 0.99, 1), method="higher")
    numbers = {"median": median, "q99": q99, "largest": largest}
    return {"jets": found.jets, **{key: float(f"{value:.2g}") for key, value in numbers.items()}}


def row(name: str, found: RoundingResponse) -> str:
    """A line of the table."""
    steps = [what for what in found.changes if what != INPUTS]
    worst = max(steps, key=lambda what: found.figures(what)[1], default=None)
    cells = [name, f"{found.jets}"]
    for what in (INPUTS, worst):
        cells += ["", "", ""] if what is None else [f"{value:.1g}" for value in found.figures(what)]
    return f"| {' | '.join(cells)} |"


def table(data: Path, before: str) -> tuple[str, dict[str, dict[str, float]]]:
    """The lines, those of networks that are not here as they were, and what the cards say of the others."""
    lines = [
        "| model | jets | inputs: median | 99 % | largest | steps: median | 99 % | largest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cards = {}
    for name, file in FILES.items():
        if (data / "models" / file).is_file():
            found = response(data, name)
            lines.append(row(name, found))
            cards[name] = figures(found)
        else:
            lines += [line for line in before.splitlines() if line.startswith(f"| {name} |")]
    return "\n".join(lines), cards


def card_path(name: str) -> Path:
    """The card of a network in the package."""
    known = PACKAGE / "known" / f"{name}.json"
    return known if known.is_file() else PACKAGE / "models" / name / "bundle.json"


def with_rounding(card: str, numbers: dict[str, float]) -> str:
    """A card as text that says how well scores are defined; the rest stays as it is written."""
    line = f'  "rounding": {json.dumps(numbers)},\n'
    return re.sub(r'^(?:  "rounding": .*\n)?(?=  "sha256")', line, card, count=1, flags=re.MULTILINE)


def last_first(source: bytes) -> bytes:
    """A graph whose sums over the second axis begin with its last entry, as those of a GPU may."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(source)
    tensors = {item.name: item for item in model.graph.initializer}
    tensors |= {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}
    numbers = {"last": -1, "ends": -(2**31), "second": 1, "back": -1}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array([value]), f"order_{name}") for name, value in numbers.items()
    )
    nodes = []
    for place, node in enumerate(model.graph.node):
        axes = [helper.get_attribute_value(item) for item in node.attribute if item.name == "axes"]
        axes += [numpy_helper.to_array(tensors[name]).tolist() for name in node.input[1:] if name in tensors]
        if node.op_type == "ReduceSum" and axes == [[1]]:
            turned = f"order_{place}"
            nodes.append(helper.make_node("Slice", [node.input[0], *(f"order_{name}" for name in numbers)], [turned]))
            node.input[0] = turned
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def doubled(source: bytes) -> bytes:
    """A graph without weights that computes in double precision what it takes and gives in single precision."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(source)
    graph = model.graph
    taken = {item.name: f"{item.name}_double" for item in graph.input}
    given = {item.name: f"{item.name}_double" for item in graph.output}
    nodes = [helper.make_node("Cast", [old], [new], to=TensorProto.DOUBLE) for old, new in taken.items()]
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = (taken | given).get(name, name)
        nodes.append(node)
    nodes += [helper.make_node("Cast", [new], [old], to=TensorProto.FLOAT) for old, new in given.items()]
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(model.SerializeToString())


#: what runs a network, against its file in ONNX Runtime on the CPU
ORDER, CUT, DOUBLE, OPENVINO = (
    "sums in another order",
    "the same, steps that amplify on the CPU",
    "steps that amplify in double precision",
    "OpenVINO",
)


def order(data: Path, name: str) -> dict[str, Any]:
    """The largest change of a probability of each jet, float64[jets], by what runs the network."""
    import onnx

    for bundle, runs in jets_of(data, name):
        graph, response = bundle.graph, response_of(bundle)
        assert graph is not None, name
        assert response is not None, name
        network = cut_at(onnx.load(graph.path), response.amplifying, runs[0])
        assert network is not None, name
        sessions: dict[str, Session] = {
            ORDER: OrtSession(graph, 1, "cpu", last_first(graph.path.read_bytes())),
            CUT: make_cut_session(graph, 1, "cpu", replace(network, rest=last_first(network.rest))),
            DOUBLE: make_cut_session(graph, 1, "cpu", replace(network, first=doubled(network.first))),
        }
        if find_spec("openvino"):
            sessions[OPENVINO] = open_openvino(graph, 1)
        plain = open_onnx(graph, 1)
        probable = [output.index for output in bundle.outputs if output.kind == "prob"]
        return {
            how: np.concatenate(
                [
                    np.abs(evaluate(bundle, session, run) - evaluate(bundle, plain, run))[:, probable].max(axis=1)
                    for run in runs
                ]
            )
            for how, session in sessions.items()
        }
    raise ValueError(name)


def order_table(data: Path, before: str, names: list[str]) -> str:
    """The lines; those of what is not here as they were."""
    lines = ["| model | jets | what runs it | median | 90 % | largest |", "|---|---|---|---|---|---|"]
    for name in names:
        found = order(data, name) if (data / "models" / FILES[name]).is_file() else {}
        for how in (ORDER, CUT, DOUBLE, OPENVINO):
            if how in found:
                numbers = " | ".join(f"{value:.1g}" for value in np.quantile(found[how], (0.5, 0.9, 1)))
                lines.append(f"| {name} | {len(found[how])} | {how} | {numbers} |")
            else:
                old = [line for line in before.splitlines() if line.startswith(f"| {name} |") and f"| {how} |" in line]
                lines += old
    return "\n".join(lines)


#: networks that amplify rounding
AMPLIFYING = ["part-ak8-2023", "part-ak4"]


def pattern(what: str) -> re.Pattern[str]:
    """A table in a page."""
    return re.compile(rf"(<!-- rounding: {what} -->\n)(.*?)(<!-- end of rounding -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with cms/pfnano.root and models/")
    parser.add_argument("docs", type=Path, help="folder with models.md and scaling.md")
    args = parser.parse_args()
    cards: dict[str, dict[str, float]] = {}
    for page, what in (("models.md", "measured"), ("scaling.md", "order")):
        path = args.docs / page
        text = path.read_text(encoding="utf-8")
        match = pattern(what).search(text)
        if match is None:
            parser.error(f"{path} has no table of rounding")
        if what == "measured":
            lines, cards = table(args.data, match[2])
        else:
            lines = order_table(args.data, match[2], AMPLIFYING)
        path.write_text(text.replace(match[0], f"{match[1]}{lines}\n{match[3]}"), encoding="utf-8")
    for name, numbers in cards.items():
        path = card_path(name)
        path.write_text(with_rounding(path.read_text(encoding="utf-8"), numbers), encoding="utf-8")


if __name__ == "__main__":
    main()
