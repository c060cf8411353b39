"""``site``: the example of a test module, served once for its tests in each mode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.examples.site import MODES, Site, serving


@pytest.fixture(scope="module", params=MODES)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The app that the module names by ``APP``, with the settings in its ``ENVIRONMENT``."""
    module = request.module
    folder = tmp_path_factory.mktemp(module.APP)
    environment = {
        name: value.format(folder=folder)
        for name, value in getattr(module, "ENVIRONMENT", {}).items()
    }
    with serving(request.param, module.APP, folder, environment) as served:
        yield served
