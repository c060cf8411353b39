"""Starts a worker under any interpreter: ``python boot.py --fd N``.

The package is registered from the folder where this file lies. Nothing is added to ``sys.path``:
the app must see its own environment, not its host's.
"""

import sys

if __name__ == "__main__":
    # First of all: the interpreter put this folder there, and its files are not top-level modules.
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]

    import importlib.util
    import os

    _folder = os.path.dirname(os.path.abspath(__file__))
    _spec = importlib.util.spec_from_file_location(
        "soloist_worker",
        os.path.join(_folder, "__init__.py"),
        submodule_search_locations=[_folder],
    )
    assert _spec is not None and _spec.loader is not None
    _package = importlib.util.module_from_spec(_spec)
    sys.modules["soloist_worker"] = _package
    _spec.loader.exec_module(_package)

    from soloist_worker.process import main

    sys.exit(main())
