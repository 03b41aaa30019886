"""Every block of code of every page: Python is run, commands are parsed, files are validated, outputs are of a test."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
from markdown_it import MarkdownIt
from pages import ROOT, Block, blocks_of, pages, read
from pydantic import BaseModel, TypeAdapter, ValidationError

from jettagger.cli import COMMANDS, main, parser_of
from jettagger.cli.schema import FILES, model_of
from jettagger.config.yamlfile import read_yaml
from jettagger.errors import JettaggerError
from jettagger.testing import write_pfnano


@dataclass(frozen=True)
class Elsewhere:
    """Blocks that a test of their own runs, as they need files, or are the output of a command.

    Parameters
    ----------
    page, language : str
    test : str
        ``tests/test_x.py::test_y``; its file names the page.
    holding : str
        What is in these blocks alone; empty: all of the page in this language.
    """

    page: str
    language: str
    test: str
    holding: str = ""

    def has(self, block: Block) -> bool:
        return (block.page, block.language) == (self.page, self.language) and self.holding in block.text


ELSEWHERE = [
    Elsewhere("CONTRIBUTING.md", "yaml", "tests/test_first_changes.py::test_its_example_is_the_one_that_is_tried"),
    Elsewhere(
        "docs/assignment.md",
        "text",
        "tests/test_assignment_datasets.py::test_the_output_on_the_page_is_that_of_the_command",
        "matching efficiency",
    ),
    Elsewhere("README.md", "python", "tests/test_docs_start.py::test_the_first_block_is_the_example", ".show("),
    Elsewhere("docs/index.md", "python", "tests/test_docs_start.py::test_the_first_block_is_the_example", ".show("),
    Elsewhere("docs/logging.md", "python", "tests/test_logging.py::test_workers_of_dask_send_their_logs", "client."),
    Elsewhere("docs/logging.md", "python", "tests/test_logging.py::test_the_page"),
    Elsewhere("README.md", "text", "tests/test_docs_start.py::test_the_commands_of_the_readme_lead_to_a_score"),
    Elsewhere("docs/start.md", "python", "tests/test_docs_start.py::test_the_page_of_first_steps_runs", "attach"),
    Elsewhere("docs/start.md", "python", "tests/test_project.py::test_the_example_draws_the_picture", "roc.png"),
    Elsewhere("README.md", "python", "tests/test_docs_start.py::test_the_processor_of_the_readme_runs", "Runner"),
    Elsewhere("docs/own_model.md", "python", "tests/test_docs_pages.py::test_an_own_model_is_exported_and_used"),
    Elsewhere("docs/delphes.md", "python", "tests/test_docs_pages.py::test_jets_of_delphes_get_scores"),
    Elsewhere("docs/assignment.md", "python", "tests/test_assigner.py::test_the_page_runs", "load_assigner"),
    Elsewhere("docs/assignment.md", "python", "tests/test_docs_assignment.py::test_python_block_runs"),
    Elsewhere("docs/calibration.md", "python", "tests/test_docs_calibration.py::test_the_page_runs"),
    Elsewhere("docs/errors.md", "python", "tests/test_docs_errors.py::test_the_page_has_what_they_say"),
    Elsewhere("docs/errors.md", "text", "tests/test_docs_errors.py::test_the_page_has_what_they_say"),
    Elsewhere("docs/jec.md", "python", "tests/test_docs_jec.py::test_python_block_runs"),
    Elsewhere("docs/pfnano.md", "python", "tests/test_docs_pfnano.py::test_its_code_runs"),
    Elsewhere("docs/remote.md", "python", "tests/test_kserve_servers.py::test_the_page_runs"),
    Elsewhere(
        "docs/scaling.md",
        "python",
        "tests/test_dask_install.py::test_its_clusters_are_those_of_dask_jobqueue",
        "SLURMCluster",
    ),
    Elsewhere(
        "docs/scaling.md",
        "python",
        "tests/test_dask_install.py::test_the_page_on_scaling_runs",
        "distributed.Client(cluster)",
    ),
    Elsewhere("docs/search.md", "python", "tests/test_docs_search.py::test_the_page_runs"),
    Elsewhere("docs/search_backgrounds.md", "python", "tests/test_closure.py::test_fits_have_the_closure"),
    Elsewhere("docs/search_batch.md", "python", "tests/test_search_resume.py::test_the_page_runs"),
    Elsewhere(
        "docs/search_batch.md",
        "text",
        "tests/test_search_processes.py::test_a_search_that_is_stopped_goes_on_from_its_finished_chunks",
        "finished chunks",
    ),
    Elsewhere(
        "docs/search_batch.md",
        "text",
        "tests/test_search_parts.py::test_the_table_of_sites_on_the_page_is_that_of_the_command",
        "by site",
    ),
    Elsewhere("docs/weaver.md", "python", "tests/test_docs_weaver.py::test_tables_and_events", "mymodel_probXbb"),
    Elsewhere("docs/weaver.md", "python", "tests/test_docs_weaver.py::test_sophon", "jetclass2.coarse"),
]

#: what is no code, and why it is shown
SHOWN: dict[tuple[str, str], str] = {
    ("ARCHITECTURE.md", "file --coffea"): "diagram of the way of the data",
    ("ARCHITECTURE.md", "errors  types"): "order of rooms, which tests/test_layers.py checks",
    ("docs/calibration.md", "SF = eff"): "a formula",
    ("docs/own_model.md", "model.onnx"): "files of a folder",
    ("docs/search_backgrounds.md", "q_i · r"): "a formula",
    ("docs/search_batch.md", "ClusterName"): "configuration of SLURM on one machine, not a file of ours",
    ("docs/simulation.md", "average(crossSection"): "a formula",
    ("docs/weaver.md", "model.onnx"): "files of a folder",
}

#: languages of which all blocks are checked here
CHECKED = ("python", "sh", "yaml", "json", "ini")

BLOCKS = [block for page in pages() for block in blocks_of(read(page), page)]


def in_language(language: str) -> list[Any]:
    return [pytest.param(block, id=f"{block.page}:{block.line}") for block in BLOCKS if block.language == language]


# ------------------------------------------------------------------------------------------------------ all of them


def test_every_block_is_checked() -> None:
    """Here, or by a test that the table names; no block has no language."""
    unknown = [
        f"{block.name}: {block.language or 'no language'}, expected {', '.join(CHECKED)}, or text for outputs"
        for block in BLOCKS
        if block.language not in (*CHECKED, "text")
    ]
    assert unknown == []
    free = [
        block.name
        for block in BLOCKS
        if block.language == "text"
        and not block.text.startswith("$ jettagger ")
        and not any(entry.has(block) for entry in ELSEWHERE)
        and not any(page == block.page and holding in block.text for page, holding in SHOWN)
    ]
    assert free == [], "outputs are compared by a test that ELSEWHERE names; what is none is in SHOWN with a reason"


def indented(text: str) -> list[str]:
    """Blocks of code that are indented, and so have no language."""
    return [token.content for token in MarkdownIt().parse(text) if token.type == "code_block"]


def test_no_block_is_indented() -> None:
    """None would be checked."""
    assert indented("- a list\n\n  more\n\n```sh\n    make\n```\n\n    make\n") == ["make\n"]
    assert {page: found for page in pages() if (found := indented(read(page)))} == {}


@pytest.mark.parametrize("entry", ELSEWHERE, ids=lambda entry: f"{entry.page}-{entry.language}")
def test_the_test_that_is_named_reads_the_page(entry: Elsewhere) -> None:
    assert any(entry.has(block) for block in BLOCKS), "no such block"
    file, _, function = entry.test.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert function in {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    assert f'"{entry.page}"' in text


@pytest.mark.parametrize(("page", "holding"), SHOWN)
def test_what_is_only_shown_is_there(page: str, holding: str) -> None:
    assert [block for block in BLOCKS if block.page == page and block.language == "text" and holding in block.text]


# ----------------------------------------------------------------------------------------------------------- Python

#: what is in a block -> module that it needs, and why
NEEDS = {
    "jettagger.simulation": ("pythia8mc", "the extra sim is not installed"),
    "judge_protected": ("sklearn", "the extra train is not installed"),
    "examples/data": ("mplhep", "the extra plot is not installed"),
    "import torch": ("torch", "the extra train is not installed"),
}


@pytest.mark.parametrize("block", in_language("python"))
def test_python_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile(block.text, block.name, "exec")
    if any(entry.has(block) for entry in ELSEWHERE):
        return
    for part, (module, reason) in NEEDS.items():
        if part in block.text:
            pytest.importorskip(module, reason=reason)
    monkeypatch.chdir(tmp_path)
    if "examples/data" in block.text:
        (tmp_path / "examples").symlink_to(ROOT / "examples")
    exec(code, {"__name__": "document"})


# ------------------------------------------------------------------------------------------------------------ shell

#: programs that are not ours
FOREIGN = ("cat", "combine", "condor_submit", "conda", "cp", "curl", "docker", "echo", "export", "git", "grep", "head")
FOREIGN += ("jq", "kubectl", "less", "mkdir", "mlserver", "nohup", "open", "perf", "sbatch", "sort", "tail", "tar")
FOREIGN += ("pre-commit", "tee", "tritonserver", "voms-proxy-init", "watch", "xargs", "xrdcp")
OURS = ("jettagger", "make", "pip", "python", "pytest")


#: after the last argument of a command
END = "<end of the command>"


def calls(text: str, folder: Path) -> list[list[str]]:
    """The commands that a shell runs, with their arguments as it gives them; none of them is executed."""
    programs, log = folder / "programs", folder / "calls"
    programs.mkdir()
    log.touch()
    for name in (*FOREIGN, *OURS, "python3"):
        path = programs / name
        # in one piece, as commands of a pipe run at the same time
        path.write_text(f'#!/bin/sh\nprintf "%s\\0" "{name}" "$@" "{END}" >> "{log}"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    # of an environment: .venv/bin/python is python
    text = re.sub(r"[\w./~$-]*/bin/(?=(?:python3?|pip|jettagger|pytest|pre-commit)\b)", "", text)
    functions = 'cd() { :; }; source() { :; }; command_not_found_handle() { printf "%s\\0" "$1" "$END" >> "$LOG"; }\n'
    for place in re.findall(r">\s*(?:~/)?((?:[\w.-]+/)+)[\w.-]+", text):  # into which outputs are redirected
        (folder / place).mkdir(parents=True, exist_ok=True)
    bash = shutil.which("bash") or "bash"
    done = subprocess.run(
        [bash, "-c", functions + text],
        env={"PATH": str(programs), "LOG": str(log), "END": END, "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return [words.split("\0")[:-1] for words in log.read_text(encoding="utf-8").split(f"{END}\0") if words]


@cache
def extras() -> set[str]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return set(config["options.extras_require"])


def check_call(words: list[str], page: str) -> None:
    """That a command of ours would be understood.

    Raises
    ------
    AssertionError
        If it would not.
    """
    program, arguments = words[0].removesuffix("3"), words[1:]
    if program == "jettagger":
        check_verb(arguments)
    elif program == "make":
        makefile = read("Makefile")
        for target in (word for word in arguments if "=" not in word):
            assert re.search(rf"^{re.escape(target)}:", makefile, flags=re.MULTILINE), f"no target {target}"
    elif program == "pip" or arguments[:2] == ["-m", "pip"]:
        for word in arguments:
            if named := re.search(r"^(?:\.|jettagger)\[(.*)\]", word):
                assert set(named[1].split(",")) <= extras(), f"no such extras: {word}"
    elif program == "python" and arguments[:1] == ["-m"]:
        assert importlib.util.find_spec(arguments[1]) is not None, f"no module {arguments[1]}"
    elif program == "python" and arguments and not arguments[0].startswith("-"):
        folders = (ROOT, (ROOT / page).parent)
        assert any((folder / arguments[0]).is_file() for folder in folders), f"no script {arguments[0]}"
    else:
        assert program in (*FOREIGN, *OURS, "..."), f"unknown command {program}"


def check_verb(arguments: list[str]) -> None:
    """That the parser of a verb takes these arguments."""
    while arguments and arguments[0] in ("-q", "--quiet", "--json", "-v", "--verbose", "-vv"):
        arguments = arguments[1:]
    if not arguments or arguments[0] in ("-h", "--help", "-V", "--version", "COMMAND"):
        return
    verb, rest = arguments[0], arguments[1:]
    if " ".join(arguments[:2]) in COMMANDS:
        verb, rest = " ".join(arguments[:2]), arguments[2:]
    assert verb in COMMANDS, f"no command {verb}"
    if any(word in ("-h", "--help") for word in rest):
        return
    try:
        parser_of(verb).parse_args(rest)
    except JettaggerError as error:
        raise AssertionError(f"jettagger {' '.join(arguments)}: not understood: {error}") from error


def check_shell(text: str, page: str, folder: Path) -> None:
    found = calls(text, folder)
    assert found, "no command in it"
    for words in found:
        check_call(words, page)


@pytest.mark.parametrize("block", in_language("sh"))
def test_commands_are_understood(block: Block, tmp_path: Path) -> None:
    check_shell(block.text, block.page, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jettagger tga x.root", "no command tga"),
        ("jettagger tag x.root --mdel y", "not understood"),
        ("run='jettagger limit'; for a in 1 2; do $run out/ --no-such=$a; done", "not understood"),
        ("make tset", "no target tset"),
        (".venv/bin/pip install '.[plto]'", "no such extras"),
        ("python3 -m benchmarks.raport", "no module"),
        ("python examples/domo.py", "no script"),
        ("frobnicate", "unknown command"),
        ("for x in; do", "syntax error"),
    ],
)
def test_wrong_commands_are_found(text: str, message: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(AssertionError, match=message):
        check_shell(text, "README.md", tmp_path)


TRANSCRIPTS = [
    pytest.param(block, id=f"{block.page}:{block.line}")
    for block in BLOCKS
    if block.language == "text" and block.text.startswith("$ jettagger ")
]


@pytest.mark.parametrize("block", TRANSCRIPTS)
def test_transcripts_are_those_of_the_commands(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What follows ``$ jettagger ...`` is what it prints, on both streams; nano.root is there."""
    if any(entry.has(block) for entry in ELSEWHERE):
        return
    monkeypatch.chdir(tmp_path)
    write_pfnano("nano.root", 5, seed=1)
    for part in re.split(r"^\$ jettagger ", block.text, flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        main(shlex.split(line))
        said = capsys.readouterr()
        assert [text.rstrip() for text in (said.out + said.err).splitlines()] == expected.splitlines()


# ------------------------------------------------------------------------------------------------------------ files


def _submodels(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for argument in get_args(kind):
        yield from _submodels(argument)


@cache
def models() -> tuple[type[BaseModel], ...]:
    """The models of all files that users write, and of the mappings in them."""
    waiting: list[type[BaseModel]] = [model_of(kind) for kind in FILES]
    found: dict[type[BaseModel], None] = {}
    while waiting:
        model = waiting.pop(0)
        if model not in found:
            found[model] = None
            waiting += [one for field in model.model_fields.values() for one in _submodels(field.annotation)]
    return tuple(found)


def check_file(content: Mapping[Any, Any], name: str) -> None:
    """That a mapping, whole or a part of it, is what the model of a file, or of a mapping in one, takes.

    Raises
    ------
    AssertionError
        If no model has all its keys, or none of those that have takes the values.
    """
    reasons = []
    for model in models():
        fields = {field.alias or key: field for key, field in model.model_fields.items()}
        if not set(map(str, content)) <= set(fields):
            continue
        try:
            for key, value in content.items():
                kind: Any = fields[str(key)].annotation
                for one in fields[str(key)].metadata:
                    kind = Annotated[kind, one]
                TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            reasons.append(f"{model.__name__}: {error}")
        else:
            return
    assert reasons, f"{name}: no file has the keys {', '.join(map(str, content))}"
    raise AssertionError(f"{name}: {reasons[0]}")


def check_event_file(text: str) -> None:
    from jettagger.topology.eventfile import parse_event_text

    assert parse_event_text(text).particles


def check_discriminants(text: str, folder: Path) -> None:
    from jettagger.discriminants import load

    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    assert load(folder / "mine.yaml")


#: keys of data sets in the metadata of jettagger datasets
METADATA = {"cross_section", "data", "era", "sum_of_weights"}


def check_space(content: Mapping[str, Any]) -> None:
    from jettagger.studies.tuning.spaces import search_space

    assert search_space(content)


def check_metadata(content: Mapping[str, Any], name: str) -> None:
    from jettagger.search.filesets import read_metadata

    for dataset, metadata in content.items():
        assert read_metadata(metadata, f"{name}, {dataset}")


def check_yaml(text: str, name: str, folder: Path) -> None:
    """Files with a reader of their own, and those with a model."""
    content = read_yaml(text, name).data
    assert isinstance(content, Mapping), f"{name}: {type(content).__name__}, expected a mapping"
    if "EVENT" in content:
        check_event_file(text)
    elif "discriminants" in content and "version" in content and "samples" not in content:
        check_discriminants(text, folder)
    elif all(isinstance(value, Mapping) and set(value) <= METADATA for value in content.values()):
        check_metadata(content, name)  # of data sets, for jettagger datasets
    else:
        check_file(content, name)


@pytest.mark.parametrize("block", in_language("yaml"))
def test_yaml_is_valid(block: Block, tmp_path: Path) -> None:
    if any(entry.has(block) for entry in ELSEWHERE):
        return
    check_yaml(block.text, block.name, tmp_path)


@pytest.mark.parametrize("block", in_language("json"))
def test_json_is_valid(block: Block) -> None:
    content = json.loads(block.text)
    if any(str(value).startswith("tune.") for value in content.values()):
        check_space(content)
    elif "yaml.schemas" in content:  # of an editor
        assert {name.removesuffix(".schema.json") for name in content["yaml.schemas"]} <= set(FILES)
    else:
        check_file(content, block.name)


def test_ini_is_read() -> None:
    for block in BLOCKS:
        if block.language == "ini":
            config = ConfigParser()
            config.read_string(block.text)
            assert config.sections(), block.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("luminosty: 138", "no file has the keys luminosty"),
        ("jets: {count: two}", "JetsKeys\\ncount"),
        ("EVENT: {t: [a]}", "INPUTS"),
        ("- a", "expected a mapping"),
    ],
)
def test_wrong_files_are_found(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=message):
        check_yaml(text, "page", tmp_path)


# ----------------------------------------------------------------------------------------------------- the collection


def test_blocks_are_found() -> None:
    text = (
        "```py\na\n```\n\n- item\n\n  ```{code-block} yaml\n  :caption: x\n  a:\n    b: 1\n  ```\n\n"
        "````{tab-item} x\n```sh\nmake\n```\n````\n~~~\n```\n~~~\n`` ```x``` ``\n"
    )
    found = [(block.line, block.language, block.text) for block in blocks_of(text)]
    assert found == [(1, "python", "a\n"), (7, "yaml", "a:\n  b: 1\n"), (14, "sh", "make\n"), (18, "", "```\n")]
    with pytest.raises(AssertionError, match="x, line 2: this block has no end"):
        blocks_of("a\n```\n", "x")
