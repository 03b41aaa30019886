"""Data configurations of weaver: what is read from YAML, what is refused and where, how expressions are evaluated."""

from __future__ import annotations

import math
import re
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weavers import CONFIG, table

from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.weaver import Values, WeaverJets, parse_formula, read_config


def values_of(text: str, columns: ak.Array | None = None) -> Values:
    columns = table() if columns is None else columns
    return Values(read_config(text=text), {name: columns[name] for name in columns.fields})


# expressions


JAGGED = {
    "x": ak.Array([[1.0, -2.0, 4.0], [], [8.0]]),
    "y": ak.Array([[0.5, 0.25, 2.0], [], [1.0]]),
    "n": ak.Array([[1, 2, 3], [], [4]]),
    "j": ak.Array([10.0, 20.0, 40.0]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x + 2 * y - 1", [[1.0, -2.5, 7.0], [], [9.0]]),
        ("x / j * 10", [[1.0, -2.0, 4.0], [], [2.0]]),
        ("x ** 2 // 3 % 4", [[0.0, 1.0, 1.0], [], [1.0]]),
        ("-x", [[-1.0, 2.0, -4.0], [], [-8.0]]),
        ("(x > 0) & (y < 1) | (x == 8)", [[True, False, False], [], [True]]),
        ("~(x != 4)", [[False, False, True], [], [False]]),
        ("(n >> 1) & 1 ^ 1", [[1, 0, 0], [], [1]]),
        ("n << 2", [[4, 8, 12], [], [16]]),
        ("x[:, :1]", [[1.0], [], [8.0]]),
        ("x[x > 0]", [[1.0, 4.0], [], [8.0]]),
        ("x[ak.argsort(y, ascending=False)]", [[4.0, 1.0, -2.0], [], [8.0]]),
        ("j[1:]", [20.0, 40.0]),
        ("ak.firsts(x)", [1.0, None, 8.0]),
        ("ak.fill_none(ak.pad_none(x, 2, clip=True), 0.)", [[1.0, -2.0], [0.0, 0.0], [8.0, 0.0]]),
        ("ak.sum(x, axis=1) + len(j)", [6.0, 3.0, 11.0]),
        ("ak.num(x)", [3, 0, 1]),
        ("np.searchsorted([15, 30], j)", [0, 1, 2]),
        ("np.maximum(np.abs(x), 2)", [[2.0, 2.0, 4.0], [], [8.0]]),
        ("np.stack([j, j + 1], axis=1)", [[10.0, 11.0], [20.0, 21.0], [40.0, 41.0]]),
        ("ak.concatenate([x, y], axis=1)", [[1.0, -2.0, 4.0, 0.5, 0.25, 2.0], [], [8.0, 1.0]]),
        ("ak.values_astype(x, 'int32')", [[1, -2, 4], [], [8]]),
        ("ak.values_astype(x, np.int32)", [[1, -2, 4], [], [8]]),
        ("ak.where(x > 0, x, math.sqrt(4))", [[1.0, 2.0, 4.0], [], [8.0]]),
        ("x * math.pi / np.pi", [[1.0, -2.0, 4.0], [], [8.0]]),
        ("_clip(x, -1, 3)", [[1.0, -1.0, 3.0], [], [3.0]]),
        ("_pad(x, 2, value=9)", [[1.0, -2.0], [9.0, 9.0], [8.0, 9.0]]),
        ("_repeat_pad(x, 4)", [[1.0, -2.0, 4.0, 1.0], [0.0] * 4, [8.0] * 4]),
        ("_batch_gather(x, _batch_argsort(x))", [[-2.0, 1.0, 4.0], [], [8.0]]),
        ("_concat([x, y])", [*JAGGED["x"].tolist(), *JAGGED["y"].tolist()]),
        ("_stack([j, j])", [[10.0, 10.0], [20.0, 20.0], [40.0, 40.0]]),
        ("_hash(j) == _hash(j + 0)", [True, True, True]),
        ("awkward.ones_like(numpy.hypot(x, y))", [[1.0, 1.0, 1.0], [], [1.0]]),
    ],
)
def test_expressions_give_what_python_would(text: str, expected: list[object]) -> None:
    result = parse_formula(text).evaluate(JAGGED.__getitem__)
    assert ak.to_list(result) == expected


def test_four_momenta_have_properties_and_angles() -> None:
    columns = {
        "px": ak.Array([[3.0], [0.0]]),
        "py": ak.Array([[4.0], [2.0]]),
        "pz": ak.Array([[0.0], [0.0]]),
        "e": ak.Array([[13.0], [2.0]]),
    }
    p4 = "_p4_from_pxpypze(px, py, pz, e)"
    assert ak.to_list(parse_formula(f"{p4}.pt").evaluate(columns.__getitem__)) == [[5.0], [2.0]]
    assert ak.to_list(parse_formula(f"{p4}.mass").evaluate(columns.__getitem__)) == [[12.0], [0.0]]
    angle = parse_formula(f"{p4}.deltaphi(_p4_from_ptetaphim(e, pz, pz, pz))").evaluate(columns.__getitem__)
    assert ak.to_list(angle) == [[pytest.approx(math.atan2(4, 3))], [pytest.approx(math.pi / 2)]]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_arithmetic_is_that_of_numpy(data: st.DataObject) -> None:
    leaf = st.sampled_from(["a", "b", "2", "0.5"])
    text = data.draw(
        st.recursive(
            leaf,
            lambda inner: st.builds(
                lambda left, symbol, right: f"({left} {symbol} {right})", inner, st.sampled_from("+-*/"), inner
            ),
            max_leaves=8,
        )
    )
    a, b = np.array([1.5, -2.0, 3.0]), np.array([4.0, 0.25, -1.0])
    with np.errstate(all="ignore"):
        try:
            expected = eval(text, {"__builtins__": {}}, {"a": a, "b": b})  # noqa: S307
        except ZeroDivisionError:
            return
        got = parse_formula(text).evaluate({"a": ak.Array(a), "b": ak.Array(b)}.__getitem__)
    np.testing.assert_array_equal(np.asarray(got), expected)


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("__import__('os')", 1, "unknown function '__import__'"),
        ("np.fromfile(x)", 1, "unknown function 'np.fromfile'"),
        ("1 + np.sqrtt(x)", 5, "nearest: np.sqrt"),
        ("np.random.rand(3)", 1, "unknown function 'np.random.rand'"),
        ("ak.from_parquet(x)", 1, "unknown function"),
        ("_clp(x, 0, 1)", 1, "nearest: _clip"),
        ("x.__class__", 1, "'__class__' is not a property"),
        ("x.to_list()", 1, "unknown function 'x.to_list'"),
        ("np.linalg", 1, "neither called nor a constant"),
        ("np", 1, "is not the name of a column"),
        ("_clip", 1, "is not the name of a column"),
        ("x and y", 1, "write & and | for"),
        ("not x", 1, "write ~"),
        ("1 < x < 2", 1, "join two comparisons with &"),
        ("x in y", 1, "join two comparisons"),
        ("x @ y", 1, "operator"),
        ("lambda: x", 1, "not allowed"),
        ("[x for x in y]", 1, "not allowed"),
        ("{'a': 1}", 1, "not allowed"),
        ("x if y else 1", 1, "not allowed"),
        ("'text'", 1, "not allowed"),
        ("f'{x}'", 1, "not allowed"),
        ("np.sum(x, out=y)", 1, "argument 'out'"),
        ("np.sum(*x)", 8, "cannot be unpacked"),
        ("ak.values_astype(x, 'flat32')", 21, "nearest: float32"),
        ("99999999999999999999 * x", 1, "64 bits"),
        ("x + )", 5, "cannot be read"),
        ("(x := 3)", 2, "not allowed"),
    ],
)
def test_what_is_not_on_the_list_is_refused_with_its_place(text: str, position: int, message: str) -> None:
    with pytest.raises(ConfigError, match="here") as info:
        parse_formula(text, "here")
    first, second, mark = str(info.value).split("\n")
    assert f"position {position}:" in first
    assert message in first
    assert second.strip() == text.strip()
    assert mark.index("^") - 2 == position - 1


def test_numbers_cannot_be_made_to_grow() -> None:
    for text in ("9 ** 9 ** 9 ** 9", "1 << 999999999"):
        with pytest.raises(MismatchError, match=r"too large|Numerical"):
            parse_formula(text).evaluate(JAGGED.__getitem__)
    with pytest.raises(ConfigError, match=r"nested too deeply|cannot be read"):
        parse_formula("(" * 3000 + "1" + ")" * 3000)
    with pytest.raises(ConfigError, match="10001 characters"):
        parse_formula("x" * 10_001)


def test_arrays_that_do_not_fit_are_named() -> None:
    with pytest.raises(MismatchError, match=r"line 3: 'x \+ z' cannot be evaluated on x: .*, z: ") as info:
        parse_formula("x + z", "line 3").evaluate({"x": JAGGED["x"], "z": ak.Array([[1.0], [2.0], [3.0]])}.__getitem__)
    assert "3 * var * float64" in str(info.value)


# the document


def test_a_configuration_is_read() -> None:
    config = read_config(text=CONFIG)
    assert [(group.name, group.length, group.pad_mode) for group in config.inputs] == [
        ("pf_points", 20, "wrap"),
        ("pf_features", 20, "wrap"),
        ("pf_mask", 20, "constant"),
    ]
    first, second, third = config.inputs[1].variables
    assert (first.name, first.center, first.scale, first.low, first.high, first.pad) == (
        "part_logpt",
        1.7,
        0.7,
        -5,
        5,
        0,
    )
    assert (second.name, second.center) == ("part_charge", None)
    assert (third.low, third.high) == (0, 1)
    assert config.columns() == (
        "part_deta",
        "part_dphi",
        "part_px",
        "part_py",
        "part_charge",
        "part_d0err",
        "part_energy",
    )
    assert config.columns_of(config.selection) == ("jet_pt", "jet_sdmass")
    assert config.labels is not None
    assert config.labels.names == ("label_a", "label_b", "label_c")
    assert config.place("part_logpt").endswith("line 5")
    assert config.needing("part_py") == ("part_logpt",)
    assert config.keeping(["pf_mask"]).variables == ("part_mask",)


@pytest.mark.data
def test_the_configuration_of_sophon_is_read(shared: Path) -> None:
    config = read_config(shared / "sophon/JetClassII_full.yaml")
    assert {group.name: len(group.variables) for group in config.inputs} == {
        "pf_points": 2,
        "pf_features": 17,
        "pf_vectors": 4,
        "pf_mask": 1,
    }
    assert config.labels is not None
    assert (config.labels.type, config.labels.names) == ("custom", ("truth_label",))
    assert len(config.observers) == 10
    arrays = ak.from_parquet(shared / "sophon/JetClassII_example.parquet")
    values = Values(config, {name: arrays[name] for name in arrays.fields})
    assert int(values.passes(config.selection, 100).sum()) == 85
    assert values.truth()["truth_label"].tolist() == arrays.jet_label.tolist()


def test_the_three_forms_of_a_variable() -> None:
    config = read_config(
        text="inputs: {a_b: {length: 3, vars: [x, [y], [z, 1, 2, -3, 4, -1], [w, 0.5], [v, null, 7]]}}"
    )
    found = {item.name: (item.center, item.scale, item.low, item.high, item.pad) for item in config.inputs[0].variables}
    assert found["x"] == found["y"] == (None, 1, -5, 5, 0)
    assert found["z"] == (1, 2, -3, 4, -1)
    assert found["w"] == (0.5, 1, -5, 5, 0)
    assert found["v"][0] is None
    assert config.inputs[0].pad_mode == "constant"


def test_standardisation_that_weaver_wrote_is_used() -> None:
    params = "{length: 4, pad_mode: wrap, center: 2.5, scale: 0.5, min: -5, max: 5, pad_value: 0}"
    text = f"preprocess: {{method: auto, params: {{x: {params}}}}}\ninputs: {{pf: {{length: 9, vars: [x]}}}}"
    group = read_config(text=text).inputs[0]
    assert (group.length, group.pad_mode, group.variables[0].center) == (4, "wrap", 2.5)
    with pytest.raises(ConfigError, match=r"'y' is not among the preprocess.params"):
        read_config(text=text.replace("[x]", "[x, y]"))
    with pytest.raises(ConfigError, match=r"lacks scale"):
        read_config(text=text.replace("scale: 0.5, ", ""))


def test_automatic_standardisation_needs_the_file_of_the_training() -> None:
    text = "preprocess: {method: auto}\ninputs:\n  pf: {length: 9, vars: [x]}"
    with pytest.raises(ConfigError, match=r"line 3: inputs.pf.vars.0: 'x' has no centre and scale.*auto\.yaml"):
        read_config(text=text)
    assert read_config(text=text.replace("[x]", "[[x, 0]]")).inputs[0].variables[0].center == 0
    assert read_config(text=text.replace("[x]", "[x_mask]")).inputs[0].variables[0].center is None


BASE = "inputs:\n  pf_a: {length: 4, vars: [x]}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds nothing"),
        ("[1, 2]", "holds a list"),
        ("a: [1", r"line \d.*not valid YAML"),
        ("selection: x > 1", "no 'inputs'"),
        (BASE + "select: x", r"line 3: select: unknown key \(nearest: selection"),
        (BASE + "inputs: {}", r"line 3: 'inputs' appears twice"),
        (BASE + "new_variables:\n  y: x\n  y: x + 1", r"line 5: 'y' appears twice"),
        (BASE + "labels: {type: simple, values: [a]}", r"labels.values: unknown key \(nearest: value"),
        (BASE + "labels: {type: hybrid, value: [a]}", "expected simple or custom, got 'hybrid'"),
        (BASE + "labels: {type: simple, value_cls_names: [a]}", "labels.value_cls_index: expected an expression"),
        (BASE + "new_variables: {y: 'x + )'}", r"line 3, new_variables.y: position 5"),
        (BASE + "new_variables:\n  y: np.loadtxt(x)", "line 4, new_variables.y: position 1: unknown function 'np.load"),
        (BASE + "new_variables: {y: [1]}", "line 3: new_variables.y: expected an expression, got list"),
        (BASE + "new_variables: {a b: x}", "is not a valid name"),
        (BASE + "new_variables: {a: b, b: c, c: a + x}", "'a' is defined by itself: a -> b -> c -> a"),
        (BASE + "new_variables: {a: a + 1}", "'a' is defined by itself: a -> a"),
        (BASE + "observers: jet_pt", "expected a list of names"),
        (BASE + "labels: {type: regression, value: [x]}", "labels.type: expected simple or custom, got 'regression'"),
        (BASE + "labels: {type: simple, value: {a: b}}", "expected a list of classes"),
        (BASE + "labels: {type: simple, value: [a, a]}", "classes appear twice: a"),
        (BASE + "labels: {type: custom, value: [a]}", "expected names and their expressions"),
        (BASE + "labels: {type: custom, value: {a: 1, 2: b}}", "expected names and their expressions"),
        (BASE + "new_variables: {a: x}\nlabels: {type: custom, value: {a: y}}", "is also a new variable"),
        (BASE + "preprocess: {method: magic}", "expected manual or auto, got 'magic'"),
        (BASE + "new_variable: {y: x}", r"line 3: new_variable: unknown key \(nearest: new_variables"),
        (BASE + "extra_inputs: {}", "line 3: extra_inputs: unknown key"),
        (BASE + "input_transform: log", "line 3: input_transform: unknown key"),
        (BASE + "aux_labels: {}\nnew_variables: {x: np.loadtxt(z)}", "line 4, new_variables.x: position 1: unknown"),
        (BASE + "aux_labels: {}\nselection: y > 0\nnew_variables: {y: z.foo()}", "new_variables.y: position 1"),
        (BASE + "preprocess: {methods: manual}", r"unknown key \(nearest: method\)"),
        (BASE + "treename: 3", "expected a name"),
        ("inputs: {pf: {length: 4, vars: []}}", "expected a list of variables"),
        ("inputs: {pf: {length: 4}}", "expected a list of variables"),
        ("inputs: {pf: [x]}", "expected length, pad_mode and vars"),
        ("inputs: {pf: {vars: [x]}}", "inputs.pf.length: missing"),
        ("inputs: {pf: {length: 0, vars: [x]}}", "expected a whole number from 1 or null, got 0"),
        ("inputs: {pf: {length: 100001, vars: [x]}}", "expected at most 100000 slots, got int '100001'"),
        (f"inputs: {{pf: {{length: 8, vars: [[x, 1{'0' * 400}]]}}}}", "expected a number, got int"),
        ("inputs: {pf: {length: true, vars: [x]}}", "expected a whole number"),
        ("inputs: {pf: {length: 4, padmode: wrap, vars: [x]}}", r"unknown key \(nearest: pad_mode\)"),
        ("inputs: {pf: {length: 4, pad_mode: edge, vars: [x]}}", "expected constant or wrap, got 'edge'"),
        ("inputs: {pf_mask: {length: 4, pad_mode: wrap, vars: [x]}}", "expected constant for a mask"),
        ("inputs: {pf: {length: 4, vars: [3]}}", "expected the name of a variable"),
        ("inputs: {pf: {length: 4, vars: [[x, 1, 2, 3, 4, 5, 6]]}}", "at most name, centre"),
        ("inputs: {pf: {length: 4, vars: [[x, one]]}}", "centre: expected a number, got str 'one'"),
        ("inputs: {pf: {length: 4, vars: [[x, 0, .nan]]}}", "scale: expected a number"),
        ("inputs: {pf: {length: 4, vars: [[x, 0, .inf]]}}", "scale: expected a finite number"),
        ("inputs: {pf: {length: 4, vars: [[x, 0, 1, 5, -5]]}}", "min 5 exceeds max -5"),
        ("inputs: {a: {length: 4, vars: [x]}, b: {length: 5, vars: [x]}}", "'x' is in 'a' with another length"),
        ("inputs: {a: {length: 4, vars: [x]}, b: {length: 4, vars: [[x, 1]]}}", "another length, pad_mode or scaling"),
        ("a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
         "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]", "entries"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_configuration_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as info:
        read_config(text=text)
    assert str(info.value).startswith("data configuration")


@pytest.mark.parametrize("module", ["awkward", "awkward0", "ak"])
@pytest.mark.parametrize(("function", "value"), [("ones_like", 1), ("zeros_like", 0)])
def test_the_first_syntax_of_masks_means_what_it_meant(module: str, function: str, value: int) -> None:
    """Weaver's first configurations, with which CMS's ParticleNet was trained, are in awkward 0."""
    formula = parse_formula(f"{module}.JaggedArray.{function}(x)")
    assert formula.names == ("x",)
    assert formula.evaluate({"x": ak.Array([[0.1, 0.2], []])}.__getitem__).tolist() == [[value, value], []]
    assert formula.is_ones == bool(value)


@pytest.mark.parametrize(
    ("text", "modern"),
    [
        ("awkward.JaggedArray.fromcounts(n, x)", "ak.unflatten(values, counts)"),
        ("awkward0.JaggedArray.concatenate([x, y])", "ak.concatenate([...], axis=1)"),
        ("awkward0.flatten(x)", "ak.flatten(...)"),
        ("x.counts", "ak.num(x)"),
        ("x.sum()", "ak.sum(x, axis=-1)"),
        ("(x + y).max()", "ak.max(x + y, axis=-1)"),
        ("x.pad(20).fillna(0)", "ak.fill_none(x.pad(20), value)"),
        ("x.flatten()", "ak.flatten(x)"),
        ("x.ones_like()", "ak.ones_like(x)"),
    ],
)
def test_what_else_is_of_awkward_0_is_refused_with_todays_spelling(text: str, modern: str) -> None:
    with pytest.raises(ConfigError, match=rf"is of awkward 0, .*: write {re.escape(modern)}\n"):
        parse_formula(text)
    with pytest.raises(ConfigError, match=r"is of awkward 0, which is not supported\n"):
        parse_formula("awkward0.topandas(x)")


def test_types_and_sides_that_files_name() -> None:
    x = ak.Array([0.5, 1.5]).__array__()
    columns = {"x": x}.__getitem__
    assert parse_formula("ak.values_astype(x > 1, np.int_)").evaluate(columns).tolist() == [0, 1]
    assert parse_formula("np.searchsorted([0.5, 1.0], x, side='right')").evaluate(columns).tolist() == [1, 2]
    with pytest.raises(ConfigError, match="side is one of left, right"):
        parse_formula("np.searchsorted([0.5, 1.0], x, side='above')")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (
            "labels: {type: simple, value: [a]}\naux_labels: {type: custom, value_pair: {b: x}}",
            r"aux_labels \(line 4\)",
        ),
        ("labels: {type: simple, value: [a], split_per_cls: True}", r"labels\.split_per_cls \(line 3\)"),
        ("observers: [a]\nmonitor_variables: [b]", r"monitor_variables \(line 4\)"),
        ("author: somebody\nloss: {gamma: 2}", r"author \(line 3\), loss \(line 4\)"),
        ("new_variables: {_label_: 'np.stack([a], axis=1).argmax(1)'}", r"new_variables\._label_ \(line 3\)"),
        (
            "aux_labels: {b: y}\nnew_variables:\n  y: np.repeat(x, 2)",
            r"aux_labels \(line 3\), new_variables\.y \(line 5\)",
        ),
    ],
)
def test_keys_of_forks_that_scores_do_not_need_are_passed_over_with_one_warning(text: str, keys: str) -> None:
    with pytest.warns(UserWarning, match=rf"are ignored: {keys}$") as caught:
        config = read_config(text=BASE + text)
    assert len(caught) == 1
    assert config.inputs == read_config(text=BASE).inputs
    assert config.columns() == ("x",)


def test_an_index_of_classes_without_names_leaves_them_to_the_card() -> None:
    for value in ("value: fj_label, value_custom: {m: x}", "value: null, value_cls_index: fj_label, value_cls_num: 3"):
        assert read_config(text=BASE + f"labels: {{type: hybrid, {value}}}").labels is None


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.yaml"):
        read_config(tmp_path / "nowhere.yaml")
    (tmp_path / "data.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"data\.yaml"):
        read_config(tmp_path / "data.yaml")


def test_a_variable_may_stand_for_itself() -> None:
    assert values_of("new_variables: {jet_pt: jet_pt}\ninputs: {jet: {length: 1, vars: [jet_pt]}}")["jet_pt"][0] > 0


# values


def test_new_variables_come_before_columns_and_may_need_each_other() -> None:
    values = values_of("new_variables: {jet_pt: b + 1, b: 2 * jet_sdmass}\ninputs: {jet: {length: 1, vars: [jet_pt]}}")
    np.testing.assert_allclose(values["jet_pt"], 2 * table().jet_sdmass + 1, rtol=1e-6)


def test_parts_of_names_may_stand_for_others() -> None:
    text = "branch_magic: {constituent_: part_}\ninputs: {pf: {length: 4, vars: [constituent_px]}}"
    assert values_of(text)["constituent_px"].tolist() == table().part_px.tolist()


def test_an_unknown_name_is_refused_with_its_line_and_the_nearest() -> None:
    values = values_of("new_variables:\n  a: part_pxx * 2\ninputs: {pf: {length: 4, vars: [a]}}")
    with pytest.raises(UnknownName, match=r"'part_pxx' \(nearest: part_px"):
        values["a"]


def test_the_flag_of_training_is_false() -> None:
    values = values_of("new_variables: {a: 'ak.where(aux_training_, 1., jet_pt)'}\ninputs: {j: {length: 1, vars: [a]}}")
    assert ak.to_list(values["a"]) == table().jet_pt.tolist()


def test_a_selection_gives_one_value_a_jet() -> None:
    config = "selection: part_px > 0\ninputs: {pf: {length: 4, vars: [part_px]}}"
    values = values_of(config)
    with pytest.raises(MismatchError, match=r"selection: 'part_px > 0' gives .*expected one value per jet"):
        values.passes(values.config.selection, 6)
    values = values_of(config.replace("part_px > 0", "1"))
    assert values.passes(values.config.selection, 6).all()
    assert values.passes(None, 6).all()


def test_simple_labels_are_one_of_their_classes() -> None:
    assert values_of(CONFIG).truth()["label"].tolist() == [
        0 if label == 0 else 1 if label < 100 else 2 for label in table().jet_label
    ]
    overlapping = CONFIG.replace("jet_label >= 100", "jet_label > 0")
    several = int(np.count_nonzero((table().jet_label > 0) & (table().jet_label < 100)))
    with pytest.raises(InvalidValues, match=f"{several} of 6 jets belong to none or to several of the classes"):
        values_of(overlapping).truth()
    assert values_of("inputs: {j: {length: 1, vars: [jet_pt]}}").truth() == {}


def test_variables_of_a_group_have_the_same_lengths() -> None:
    text = "new_variables: {part_few: 'part_px[:, :2]'}\ninputs: {pf_a: {length: 4, vars: [part_px, part_few]}}"
    jets = WeaverJets(values_of(text), 6)
    assert jets.column("pf_a", "part_px").dtype == np.float32
    with pytest.raises(MismatchError, match=r"line 1: 'part_few' has 2 entries in jet \d where 'part_px' has"):
        jets.column("pf_a", "part_few")


def test_jet_variables_have_one_slot_and_deeper_lists_are_refused() -> None:
    jets = WeaverJets(values_of("inputs: {jet: {length: 1, vars: [jet_pt]}}"), 6)
    assert jets.counts("jet").tolist() == [1] * 6
    text = "new_variables: {a: 'part_px[:, :, np.newaxis]'}\ninputs: {pf: {length: 4, vars: [a]}}"
    with pytest.raises(MismatchError, match="expected a number or a list of numbers per jet"):
        WeaverJets(values_of(text), 6).counts("pf")


def test_what_real_configurations_repeat_is_read() -> None:
    """The same line twice, the same variable twice in a group, a label that is a new variable of the same text."""
    text = """\
new_variables:
  part_mask: ak.ones_like(part_px)
  part_mask: ak.ones_like(part_px)
  truth: jet_label
inputs: {pf_a: {length: 4, vars: [part_px, part_px]}, pf_mask: {length: 4, vars: [part_mask]}}
labels: {type: custom, value: {truth: jet_label}}
"""
    values = values_of(text)
    assert [variable.name for variable in values.config.inputs[0].variables] == ["part_px", "part_px"]
    assert values.truth()["truth"].tolist() == table().jet_label.tolist()


def test_targets_of_forks_of_weaver_name_the_classes() -> None:
    inputs = "inputs: {j: {length: 1, vars: [jet_pt]}}\n"
    names = "value: null, value_cls_index: jet_label % 2, value_cls_names: [label_even, label_odd]"
    for kind in ("simple", "hybrid"):
        values = values_of(inputs + f"labels: {{type: {kind}, {names}, value_custom: {{mass: jet_sdmass}}}}")
        assert values.config.labels is not None
        assert values.config.labels.names == ("label_even", "label_odd")
        assert values.truth()["label"].tolist() == (table().jet_label % 2).tolist()
    hybrid = values_of(f"{CONFIG.replace('type: simple,', 'type: hybrid, value_custom: {m: jet_sdmass},')}")
    assert hybrid.truth()["label"].tolist() == values_of(CONFIG).truth()["label"].tolist()


def test_numbers_of_the_jet_have_no_length() -> None:
    text = "inputs: {event: {length: null, vars: [jet_pt, jet_sdmass]}, pf_a: {length: 4, vars: [part_px]}}"
    values = values_of(text)
    assert values.config.inputs[0].length is None
    assert WeaverJets(values, 6).counts("event").tolist() == [1] * 6
    with pytest.raises(MismatchError, match=r"'part_px' is .*expected one number per jet \(length: null\)"):
        WeaverJets(values_of("inputs: {event: {length: null, vars: [part_px]}}"), 6).counts("event")


def test_missing_values_become_nan() -> None:
    text = "new_variables: {a: ak.firsts(part_px)}\ninputs: {jet: {length: 1, vars: [a]}}"
    flat = WeaverJets(values_of(text), 6).column("jet", "a")
    assert np.isnan(flat).tolist() == [False] * 5 + [True]
