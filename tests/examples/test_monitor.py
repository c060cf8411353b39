"""Monitor: look until it is there, or too late."""

from __future__ import annotations

import pytest

from tests.examples import site as sites
from tests.examples.site import Site, serving

APP = "monitor"
ENVIRONMENT = {"WATCHED_FOLDER": "{folder}"}


def test_what_never_comes_is_given_up(site: Site) -> None:
    order = {"file": "never.txt", "pause_seconds": 0.1, "patience_seconds": 0.5}
    output = site.output(site.started("/api/watches", order))
    assert output["found"] is None
    assert 2 <= output["looks"] <= 4, "the pauses grow"


@pytest.mark.parametrize("mode", sites.MODES)
def test_what_comes_late_is_found(mode: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("watched")
    with serving(mode, APP, folder, {"WATCHED_FOLDER": str(folder)}) as site:
        order = {"file": "report.txt", "pause_seconds": 0.1}
        links = site.started("/api/watches", order)
        site.until(links, lambda status: status["customStatus"] is not None)
        (folder / "report.txt").write_text("all is well", encoding="utf-8")
        output = site.output(links)
        assert output["found"] == "all is well"
        assert output["looks"] > 1
