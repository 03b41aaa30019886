"""The one reader of JSON, and that there is no other."""

from __future__ import annotations

import ast
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_layers import ROOT, modules

from jettagger import histograms
from jettagger.discriminants import WorkingPoints
from jettagger.errors import BundleError, InputFileError, JettaggerError
from jettagger.files.generated import sources_of_note
from jettagger.files.jsonfile import DEEPEST, parse_json, read_object
from jettagger.provenance import origin, parsed
from jettagger.statistics.templates import load_report, load_workspaces

READER = re.compile(r"json\.(load|loads|JSONDecoder)|yaml\.\w*(load|load_all|parse|compose|Loader)")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)

#: JSON that is none, or that no file of the project is -> what is said
BAD = {
    "deep": ("[" * 100_000, "nested too deeply"),
    "deeper than is read": ('{"a": ' + "[" * DEEPEST + "]" * DEEPEST + "}", "nested too deeply"),
    "digits": ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
    "twice": ('{"a": {"b": 1, "b": 2}}', "'b' appears twice"),
    "list": ("[]", "holds a list, expected an object"),
    "number": ("1", "holds a number, expected an object"),
    "megabyte": ('"' + "x" * 1_000_000 + '"', "holds text, expected an object"),
    "cut": ('{"a": ', "line 1, column 7"),
    "NaN": ('{"a": NaN}', "NaN is not a finite number"),
    "infinite": ('{"a": -Infinity}', "-Infinity is not a finite number"),
    "too large": ('{"a": 1e999}', "1e999 is not a finite number"),
    "no text": ("\udcff", "cannot read"),
}


@given(values)
def test_all_values_come_back(value: Any) -> None:
    assert parse_json(json.dumps(value), "x") == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"), "x") == value


@pytest.mark.parametrize("kind", BAD)
def test_what_is_none_is_one_error_of_the_class_that_is_asked_for(kind: str, tmp_path: Path) -> None:
    text, message = BAD[kind]
    path = tmp_path / "x.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    for error in (BundleError, InputFileError):
        with pytest.raises(error, match=message) as caught:
            read_object(path, error)
        assert str(caught.value).replace("cannot read ", "").startswith(str(path))
        assert len(str(caught.value)) < 500 + len(str(path))


def test_missing_files_and_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"cannot read .*absent\.json: No such file"):
        read_object(tmp_path / "absent.json")
    assert parse_json('{"a": 1, "a": 1}', "x") == {"a": 1}
    assert parse_json('{"a": 1e999}', "x", finite=False) == {"a": float("inf")}
    flat = '{"a": [' + ", ".join(['{"b[": "]]"}'] * 1000) + "]}"  # many, but not deep
    assert parse_json(flat, "x") == json.loads(flat)


def test_there_is_no_other_reader_of_json_or_yaml() -> None:
    """Calls of the readers of the libraries, by the modules that may."""
    allowed = {"jsonfile.py": {"json.loads"}, "yamlfile.py": {"yaml.parse"}}
    for path in [*modules(), *(ROOT / "processors").glob("*.py")]:
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        readers = {call for call in calls if READER.fullmatch(call)}
        assert readers <= allowed.get(path.name, set()), path


#: texts that are JSON of another kind than is expected, at any level
ODD = ["[]", "1", '"x"', "null", "{}", "[" * 5000, '{"a": NaN}', '{"format": [], "version": {}}', '{"version": 1}']


@pytest.mark.parametrize("text", ODD)
def test_files_of_results_are_read_or_refused(text: str, tmp_path: Path) -> None:
    for name in ("templates.json", "points.json", "histograms.json"):
        (tmp_path / name).write_text(text)
    with pytest.raises(JettaggerError):
        load_workspaces(tmp_path)
    with pytest.raises(JettaggerError):
        WorkingPoints.load(tmp_path / "points.json")
    with pytest.raises(JettaggerError):
        histograms.load(tmp_path / "histograms.json")


@pytest.mark.parametrize("signals", ["[]", '{"a": 1}', '{"a": {"mass": [], "cross_section": 1, "workspace": "a"}}'])
def test_lists_of_templates_of_another_form(signals: str, tmp_path: Path) -> None:
    from jettagger.statistics.templates import _FORMAT, VERSION

    (tmp_path / "templates.json").write_text(
        f'{{"format": "{_FORMAT}", "version": {VERSION}, "signals": {signals}, "asimov": true, "report": 7}}'
    )
    for load in (load_workspaces, load_report):
        with pytest.raises(InputFileError, match=r"templates\.json"):
            load(tmp_path)


@pytest.mark.parametrize("place", range(10, 200, 10))
def test_a_compressed_histogram_file_with_a_flipped_bit(place: int, tmp_path: Path) -> None:
    import hist

    path = tmp_path / "h.json.gz"
    histogram = hist.Hist.new.Reg(20, 0, 1, name="x").Weight().fill([0.1, 0.5])
    histograms.save({"h": histogram}, path)
    content = bytearray(path.read_bytes())
    in_name = place < content.index(0, 10)  # in the header of gzip, which nobody reads
    content[place] ^= 4
    path.write_bytes(content)
    if in_name:
        assert histograms.load(path)[0]["h"] == histogram
    else:
        with pytest.raises(InputFileError, match=r"h\.json\.gz"):
            histograms.load(path)
    path.write_bytes(gzip.compress(b"[" * 100_000))
    with pytest.raises(InputFileError, match=r"h\.json\.gz is not a histogram file.*nested too deeply"):
        histograms.load(path)


SOURCE = {"file": "a.root", "events": 6, "first": 0, "last": 6, "runs": {"genEventSumw": [9.0]}}


@pytest.mark.parametrize(
    "records",
    [
        7,
        "x",
        [1],
        [SOURCE | {"events": "6"}],
        [SOURCE | {"runs": [1]}],
        [SOURCE | {"runs": {"genEventSumw": "9"}}],
        [SOURCE | {"runs": {"genEventSumw": [[9]]}}],
        [SOURCE | {"runs": {"genEventSumw": [9.0], "genEventCount": [1.5]}}],
        [SOURCE | {"more": 1}],
        [{}],
    ],
)
def test_sums_of_weights_in_a_damaged_note_are_an_error(records: Any) -> None:
    with pytest.raises(InputFileError, match=r"a\.parquet: what its provenance says of generated events"):
        sources_of_note(json.dumps({"generated": records}), "a.parquet", 6)
    assert sources_of_note(json.dumps({"generated": [SOURCE]}), "a.parquet", 6)[0].sum_of_weights == 9.0


def test_notes_of_others_and_damaged_ones() -> None:
    assert parsed("[" * 5000) == parsed("[]") == {}
    assert sources_of_note("[" * 5000) == sources_of_note('{"generated": null}') == ()
    for heads in ([1], "x", {"a": 1}):
        with pytest.raises(InputFileError, match="'heads' is"):
            origin({"model": "a", "digest": "b", "heads": heads})
