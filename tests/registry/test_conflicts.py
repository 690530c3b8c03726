"""One id, two plugins: an error for that id alone."""

from __future__ import annotations

import pytest

from mamba_core import registry
from mamba_registry.errors import (
    MixerError,
    ScanOrderError,
    TaskConflictError,
    TaskNotFoundError,
)

ORDER = (
    "from mamba_registry import *\n@hookimpl\ndef mamba_scan_orders():\n"
    "    return [ScanOrderSpec(name='zig', dims=2, order='acme:o')]\n"
    "@hookimpl\ndef mamba_mixers():\n    return [MixerSpec(name='zag', build='acme:m')]\n"
)


def test_only_the_id_that_is_asked_for(task, set_variable):
    task("acme/toy-cls", "toy")
    task("acme/toy-cls", "dup")
    task("acme/toy-seg", "seg")
    assert registry.spec("acme/toy-seg").id == "acme/toy-seg"
    assert "acme/toy-cls@1 (conflict)" in repr(registry.list())
    for asked in ("acme/toy-cls", "acme/toy-cls@1"):
        with pytest.raises(TaskConflictError) as caught:
            registry.spec(asked)
    assert str(caught.value) == (
        "Task 'acme/toy-cls@1' is offered by 2 plugins: acme-dup 1.0; acme-toy 1.0.\n"
        "Block all but one, e.g. MAMBA_PLUGINS_BLOCK=toy."
    )
    with pytest.raises(TaskConflictError):
        registry.build("acme/toy-cls")
    set_variable(BLOCK="toy")
    assert registry.spec("acme/toy-cls")


def test_other_versions_are_no_conflict(task):
    task("acme/toy-cls", "toy", version=1)
    task("acme/toy-cls", "newer", version=2)
    assert registry.spec("acme/toy-cls").version == 2
    assert registry.spec("acme/toy-cls@1").version == 1


def test_deprecated_versions_come_last(task):
    task("acme/toy-cls", "toy", version=1)
    task("acme/toy-cls", "newer", version=2, more="deprecated='use acme/toy-cls@1'")
    assert registry.spec("acme/toy-cls").version == 1
    assert registry.spec("acme/toy-cls@2").version == 2


@pytest.mark.parametrize("name", ["weather-now", "vision-new", "ts-anything"])
def test_official_names_are_reserved(task, name, set_variable):
    task(name, "thief")
    with pytest.raises(TaskConflictError) as caught:
        registry.spec(name)
    text = str(caught.value)
    assert f"'{name}@1' is offered by acme-thief 1.0, but that name belongs to mamba-" in text
    assert f"should use 'acme/{name}'" in text
    assert "MAMBA_PLUGINS_BLOCK=thief" in text


def test_their_owner_may_use_them(task):
    task("weather-now", "weather", module="mamba_weather")
    assert registry.spec("weather-now").id == "weather-now"


def test_an_alias_does_not_take_an_official_name(task):
    task("acme/weather-best", "thief", more="aliases=('weather-now',)")
    with pytest.raises(TaskConflictError, match="should use 'acme/weather-now'"):
        registry.spec("weather-now")
    assert registry.spec("acme/weather-best")


def test_an_alias_never_stands_before_an_id(task):
    task("acme/toy-cls", "toy")
    task("acme/toy-other", "other", version=9, more="aliases=('acme/toy-cls', 'acme/toy-old')")
    assert registry.spec("acme/toy-cls").id == "acme/toy-cls"
    assert registry.spec("acme/toy-old").id == "acme/toy-other"
    assert registry.spec("acme/toy-old@9").id == "acme/toy-other"


def test_an_alias_of_two_tasks(task):
    task("acme/toy-cls", "toy", more="aliases=('acme/toy-old',)")
    task("acme/toy-seg", "seg", more="aliases=('acme/toy-old',)", version=2)
    with pytest.raises(TaskConflictError, match="old name of acme/toy-cls and of acme/toy-seg"):
        registry.spec("acme/toy-old")


def test_mixers_and_scan_orders(install):
    install(ORDER, "one")
    install(ORDER, "two")
    with pytest.raises(ScanOrderError, match=r"acme-one 1\.0; acme-two 1\.0.*\n.*BLOCK=two"):
        registry.scan_order_spec("zig")
    with pytest.raises(MixerError, match="is offered by 2 plugins"):
        registry.mixer_spec("zag")
    assert registry.scan_order_spec("raster")


def test_an_order_for_the_dims_comes_before_one_for_any(install):
    install(ORDER.replace("'zig'", "'raster'"), "one")
    assert registry.scan_order_spec("raster", dims=2).order == "acme:o"
    assert registry.scan_order_spec("raster", dims=3).dims is None


def test_order_for_two_kinds_of_grids(install):
    more = ORDER.replace("order='acme:o')", "order='acme:o'), ScanOrderSpec(name='zig', dims=3, ")
    install(more.replace("dims=3, ]", "dims=3, order='acme:p')]"), "one")
    with pytest.raises(ScanOrderError, match="exists for 2-d and 3-d inputs; say which"):
        registry.scan_order_spec("zig")
    assert registry.scan_order_spec("zig", dims=3).order == "acme:p"


def test_missing_version(task):
    task()
    with pytest.raises(TaskNotFoundError) as caught:
        registry.spec("acme/toy-cls@3")
    assert str(caught.value) == ("Task 'acme/toy-cls' has no version 3; installed: acme/toy-cls@1.")
