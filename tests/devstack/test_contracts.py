"""The import contracts cover every package there is."""

from configparser import ConfigParser

from tests.support.servers import ROOT


def test_every_package_is_under_the_import_contracts() -> None:
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    listed = set(contracts["importlinter"]["root_packages"].split())
    assert listed == {marker.parent.name for marker in ROOT.glob("*/__init__.py")}
