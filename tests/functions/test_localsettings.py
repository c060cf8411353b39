"""local.settings.json: values for the environment, and wishes for the host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soloist.errors import SettingsError
from soloist.functions.jsontext import without_comments
from soloist.functions.localsettings import (
    LocalSettings,
    merged,
    parse_local_settings,
    read_local_settings,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_values_and_wishes_are_read() -> None:
    text = """{
        "IsEncrypted": false,
        "Values": {"A": "1", "AzureWebJobs.f.Disabled": "true", "My__Name": "x"},
        "Host": {"LocalHttpPort": 7072, "CORS": "https://a.example, HTTP://b.example/", "CORSCredentials": true}
    }"""
    assert parse_local_settings(text) == LocalSettings(
        values=(("A", "1"), ("AzureWebJobs.f.Disabled", "true"), ("My__Name", "x")),
        port=7072,
        cors=("https://a.example", "http://b.example"),
        cors_credentials=True,
    )


def test_comments_trailing_commas_and_a_byte_order_mark_are_let_pass() -> None:
    text = """\ufeff{
        // the settings
        "Values": {
            "URL": "http://x/*y", /* not a
            comment inside text */ "B": "2",
        },
    }"""
    assert parse_local_settings(text).values == (("URL", "http://x/*y"), ("B", "2"))


def test_values_do_not_override_what_is_set() -> None:
    settings = LocalSettings(values=(("A", "file"), ("B", "file")))
    assert merged({"A": "environment"}, settings) == {"A": "environment", "B": "file"}


def test_without_a_file_there_are_no_settings(tmp_path: Path) -> None:
    assert read_local_settings(tmp_path) == LocalSettings()


def test_an_encrypted_file_is_refused_with_the_way_out() -> None:
    with pytest.raises(SettingsError, match="func settings decrypt"):
        parse_local_settings('{"IsEncrypted": true, "Values": {"A": "aGk="}}')


@pytest.mark.parametrize(("value", "text"), [(5, "5"), (True, "true"), (1.5, "1.5")])
def test_plain_values_become_text_with_a_warning(value: object, text: str) -> None:
    found = parse_local_settings(json.dumps({"Values": {"A": value}}))
    assert found.values == (("A", text),)
    assert "Values.A is not text" in found.warnings[0]


def test_a_null_value_is_left_out_with_a_warning() -> None:
    found = parse_local_settings('{"Values": {"A": null}}')
    assert found.values == ()
    assert "is null" in found.warnings[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"Values": {"A": {}}}', "Values.A must be text"),
        ('{"Values": {"A": []}}', "Values.A must be text"),
        ('{"Values": []}', "Values must be an object"),
        ('{"Values": {"": "x"}}', "cannot be an environment variable"),
        ('{"Values": {"A=B": "x"}}', "cannot be an environment variable"),
        ('{"Values": {"A": "\\u0000"}}', "cannot be an environment variable"),
        ('{"Host": {"LocalHttpPort": "web"}}', "LocalHttpPort"),
        ('{"Host": {"LocalHttpPort": 70000}}', "LocalHttpPort"),
        ('{"Host": {"LocalHttpPort": true}}', "LocalHttpPort"),
        ('{"Host": {"CORS": ["*"]}}', "CORS must be text"),
        ('{"Host": {"CORSCredentials": 1}}', "true or false"),
        ('{"Host": {"CORS": "*", "CORSCredentials": true}}', "list the origins"),
        ("{", "not valid JSON"),
    ],
)
def test_what_cannot_be_used_says_why(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        parse_local_settings(text)


def test_another_runtime_and_connection_strings_are_remarked_upon() -> None:
    found = parse_local_settings(
        '{"Values": {"FUNCTIONS_WORKER_RUNTIME": "node"}, "ConnectionStrings": {"A": "x"}}'
    )
    assert "only Python apps" in found.warnings[0]
    assert "ConnectionStrings" in found.warnings[1]


@given(JSON)
def test_json_without_comments_stays_what_it_is(value: object) -> None:
    text = json.dumps(value)
    assert without_comments(text) == text


@given(st.text(alphabet='{}[]",/*\\ \na'))
def test_blanking_comments_moves_nothing(text: str) -> None:
    bare = without_comments(text)
    assert len(bare) == len(text)
    assert bare.count("\n") == text.count("\n")
