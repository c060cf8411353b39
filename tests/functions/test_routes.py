"""Routes: ASP.NET's templates, constraints and order of preference."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soloist.errors import AppLoadFailed
from soloist.functions.routes import RouteTable, make_route, split_path
from soloist.functions.templates import TemplateError, parse_template


def table(*routes: str, prefix: str = "api", methods: tuple[str, ...] = ()) -> RouteTable:
    """Return a table whose functions are called like their routes."""
    return RouteTable(make_route(route, prefix, route, methods) for route in routes)


def params(template: str, path: str) -> dict[str, str] | None:
    """Return the parameters of ``path`` under one template, ``None`` if it does not match."""
    found = table(template).match("GET", f"/api/{path}")
    return None if found is None else found.params


def test_a_route_lies_under_the_prefix_and_defaults_to_the_functions_name() -> None:
    routes = RouteTable([make_route("Hello", "api", None, ())])
    found = routes.match("GET", "/api/Hello")
    assert found is not None
    assert found.function == "Hello"
    assert routes.match("GET", "/Hello") is None


def test_without_a_prefix_routes_lie_at_the_root() -> None:
    assert table("hello", prefix="").match("GET", "/hello") is not None


@pytest.mark.parametrize("path", ["/api/HELLO", "/API/hello", "/api/hello/", "/api/h%65llo"])
def test_literals_are_compared_decoded_and_without_case(path: str) -> None:
    assert table("hello").match("GET", path) is not None


@pytest.mark.parametrize("path", ["/api/hello//", "/api//hello", "//api/hello", "/api", "/"])
def test_empty_segments_match_nothing(path: str) -> None:
    assert table("hello", "x/{y}").match("GET", path) is None


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("items/{id}", "items/5", {"id": "5"}),
        ("items/{id}", "items", None),
        ("items/{id}", "items/5/6", None),
        ("items/{id?}", "items", {}),
        ("items/{id:int?}", "items", {}),
        ("items/{id:int?}", "items/5", {"id": "5"}),
        ("items/{id:int?}", "items/x", None),
        ("items/{id=7}", "items", {"id": "7"}),
        ("items/{id=7}", "items/8", {"id": "8"}),
        ("items/{a=1}/{b=2}", "items/9", {"a": "9", "b": "2"}),
        ("{a}/{b?}", "x", {"a": "x"}),
        ("files/{*rest}", "files", {}),
        ("files/{*rest}", "files/a/b", {"rest": "a/b"}),
        ("files/{**rest}", "files/a/b", {"rest": "a/b"}),
        ("files/{*rest=home}", "files", {"rest": "home"}),
        ("files/{*rest:maxlength(3)}", "files/a/b", {"rest": "a/b"}),
        ("files/{*rest:maxlength(3)}", "files/a/bc", None),
        ("{a}.{b}", "x.y.z", {"a": "x.y", "b": "z"}),
        ("{a}.{b}", "x.", None),
        ("{a}.{b?}", "x", {"a": "x"}),
        ("{a}.{b?}", "x.y", {"a": "x", "b": "y"}),
        ("{a}.{b:int?}", "x.y", {"a": "x.y"}),
        ("v{major:int}-{minor}", "V1-b", {"major": "1", "minor": "b"}),
        ("v{major:int}-{minor}", "vx-b", None),
        ("a{x}a", "aa", None),
        ("a{x}", "aab", {"x": "ab"}),
        ("{{literal}}/{x}", "{literal}/1", {"x": "1"}),
        ("{name}", "a%2Fb", {"name": "a/b"}),
        ("{name}", "%E2%82%AC+1", {"name": "€+1"}),
        (r"{ssn:regex(^\d{{3}}-\d{{2}}$)}", "123-45", {"ssn": "123-45"}),
        (r"{ssn:regex(^\d{{3}}-\d{{2}}$)}", "123-456", None),
        (r"{x:regex(^(a|b)$)}", "B", {"x": "B"}),
        (r"{x:regex(a/b)}", "a%2Fb", {"x": "a/b"}),
    ],
)
def test_templates_match_as_in_aspnet(
    template: str, path: str, expected: dict[str, str] | None
) -> None:
    assert params(template, path) == expected


@pytest.mark.parametrize(
    ("constraint", "matching", "failing"),
    [
        ("int", ["0", "-5", "2147483647"], ["2147483648", "1.0", "x", "٣"]),
        ("long", ["9223372036854775807"], ["9223372036854775808", "9" * 99]),
        ("bool", ["true", "False"], ["1", "yes"]),
        (
            "guid",
            [
                "cd2c1638-1638-72d5-1638-deadbeef1638",
                "{CD2C1638-1638-72D5-1638-DEADBEEF1638}",
                "cd2c1638163872d51638deadbeef1638",
            ],
            ["cd2c1638", "cd2c1638-163872d51638-deadbeef1638"],
        ),
        (
            "datetime",
            ["2016-12-31", "12-31-2016 7:32pm", "2016-12-31T07:32:00Z"],
            ["2016-13-31", "soon"],
        ),
        ("decimal", ["49.99", "-1,000.01", "5"], ["1e5", "x"]),
        ("double", ["1.234", "-1.5e9", "NaN"], ["x", ""]),
        ("float", ["1.234"], ["1.2.3"]),
        ("alpha", ["Rick"], ["R2", "é"]),
        ("length(4)", ["Rick"], ["Ric", "Ricks"]),
        ("length(2,3)", ["ab", "abc"], ["a", "abcd"]),
        ("minlength(3)", ["abc"], ["ab"]),
        ("maxlength(3)", ["abc"], ["abcd"]),
        ("min(18)", ["18", "19"], ["17", "x"]),
        ("max(120)", ["120", "-5"], ["121"]),
        ("range(18,120)", ["18", "120"], ["17", "121"]),
        ("required", ["x"], []),
        ("int:min(1)", ["1"], ["0", "x"]),
        ("nonfile", ["name"], ["name.txt"]),
        ("file", ["name.txt"], ["name"]),
    ],
)
def test_constraints_decide_what_matches(
    constraint: str, matching: list[str], failing: list[str]
) -> None:
    template = parse_template(f"{{x:{constraint}}}")
    for value in matching:
        assert template.match([value]) == {"x": value}, value
    for value in failing:
        assert template.match([value]) is None, value


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("items/all", "items/all"),
        ("items/5", "items/{id:int}"),
        ("items/x", "items/{name}"),
        ("items/x/y", "items/{*rest}"),
        ("items", "items"),
        ("items/a-b", "items/{a}-{b}"),
        ("other/x", "{*everything}"),
    ],
)
def test_the_more_specific_route_is_preferred(path: str, function: str) -> None:
    routes = table(
        "{*everything}",
        "items/{*rest}",
        "items/{name}",
        "items/{a}-{b}",
        "items/{id:int}",
        "items/all",
        "items",
    )
    found = routes.match("GET", f"/api/{path}")
    assert found is not None
    assert found.function == function


def test_a_verb_that_nobody_takes_is_not_found() -> None:
    assert table("x", methods=("post",)).match("GET", "/api/x") is None


def test_a_less_specific_route_answers_the_verbs_that_the_better_one_refuses() -> None:
    routes = RouteTable(
        [
            make_route("post", "api", "x", ("POST",)),
            make_route("any", "api", "{y}", ()),
        ]
    )
    found = routes.match("GET", "/api/x")
    assert found is not None
    assert found.function == "any"


def test_one_route_may_have_a_function_for_each_verb() -> None:
    routes = RouteTable(
        [make_route("get", "api", "x/{a}", ("GET",)), make_route("put", "api", "x/{b}", ("PUT",))]
    )
    found = routes.match("PUT", "/api/x/1")
    assert found is not None
    assert (found.function, found.params) == ("put", {"b": "1"})


@pytest.mark.parametrize(
    ("first", "second"),
    [("x", "X"), ("x/{a}", "X/{b}"), ("{a:int}", "{b:int}"), ("{*a}", "{*b}"), ("a.{b}", "A.{c}")],
)
def test_two_functions_with_one_route_are_refused_by_name(first: str, second: str) -> None:
    with pytest.raises(AppLoadFailed, match="Functions 'one' and 'two' both answer GET"):
        RouteTable(
            [
                make_route("one", "api", first, ("GET", "POST")),
                make_route("two", "api", second, ("GET", "PUT")),
            ]
        )


def test_routes_that_only_resemble_each_other_live_together() -> None:
    table("x/{a}", "x/{a:int}", "x/{a?}", "x/{*a}", "x/{a}/y")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("a//b", "two slashes in a row"),
        ("{a", "is not closed"),
        ("a}", "outside of a parameter"),
        ("{a}{b}", "need text between"),
        ("{a}/{A}", "appears twice"),
        ("{*a}/b", "must come last"),
        ("x{*a}", "a segment of its own"),
        ("{a?}x", "must follow a '.'"),
        ("{a=1?}", "cannot be optional and have a default"),
        ("{*a?}", "cannot be optional and have a star"),
        ("{***a}", "more than two stars"),
        ("{}", "no name"),
        ("{a:nonsense}", "'nonsense' is unknown"),
        ("{a:int(5)}", r"'int\(5\)' is unknown"),
        ("{a:length(x)}", "whole numbers"),
        ("{a:range(1)}", "whole numbers"),
        ("{a:regex([)}", "the pattern of"),
        ("{a:length(5}", "is not closed"),
        ("a?b", "outside of a parameter"),
        ("x" * 2001, "longer than"),
    ],
)
def test_a_template_that_cannot_be_understood_says_why(template: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        parse_template(template)
    with pytest.raises(AppLoadFailed, match=f"Function 'f'.*{reason}"):
        make_route("f", "api", template, ())


@pytest.mark.parametrize("route", ["admin/x", "Runtime/webhooks"])
def test_routes_where_the_host_itself_answers_are_refused(route: str) -> None:
    with pytest.raises(AppLoadFailed, match="where the host itself answers"):
        make_route("f", "", route, ())
    make_route("f", "api", route, ())


def test_a_leading_slash_of_a_route_does_not_count() -> None:
    assert table("/hello/").match("GET", "/api/hello") is not None


def test_a_hostile_path_costs_no_more_than_a_long_one() -> None:
    routes = table("{a}-{b}-{c}-{d}.json")
    began_at = time.perf_counter()
    assert routes.match("GET", "/api/" + "-" * 60_000) is None
    assert routes.match("GET", "/api" + "/x" * 30_000) is None
    assert time.perf_counter() - began_at < 1.0


@given(st.text(max_size=60))
def test_any_template_is_parsed_or_refused(text: str) -> None:
    try:
        template = parse_template(text)
    except TemplateError:
        return
    template.match(["x", "y.z"])


@given(st.lists(st.text(min_size=1, max_size=8).filter(lambda text: text not in "/"), max_size=4))
def test_any_path_is_matched_by_a_catch_all(parts: list[str]) -> None:
    found = parse_template("{*rest}").match(parts)
    assert found == ({"rest": "/".join(parts)} if parts else {})


@given(st.text(alphabet="ab.-", min_size=1, max_size=8))
def test_a_mixed_segment_takes_the_whole_text_apart(value: str) -> None:
    found = parse_template("{a}.{b}").match([value])
    if found is None:
        assert "." not in value[1:-1]
    else:
        assert f"{found['a']}.{found['b']}" == value


def test_an_encoded_slash_does_not_separate() -> None:
    assert split_path("/a%2Fb/c/") == ["a/b", "c"]
