"""configs/README.md lists every key of the schema, and cannot fall behind it."""

from pathlib import Path

import pytest

from kit.config import Component, Config, LabeledSource, Section
from kit.config.competition import layout_sections
from kit.config.reference import config_reference, with_reference
from kit.registry import Registry

README = Path(__file__).parents[2] / "configs" / "README.md"


def sections(base=Section):
    for section in base.__subclasses__():
        yield section
        yield from sections(section)


def test_the_readme_is_what_the_schema_says():
    text = README.read_text(encoding="utf-8")
    assert text == with_reference(text), "run `make reference`"


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_key_has_a_description_of_one_sentence_and_is_listed(section):
    reference = config_reference()
    for name, field in section.model_fields.items():
        assert field.description, name
        assert "\n" not in field.description
        assert section is LabeledSource or f"| `{field.alias or name}` |" in reference


def test_ranges_defaults_and_layouts_are_shown():
    reference = config_reference()
    assert "| `batch_size` | integer, at least 2, at most 1000000 | `32` |" in reference
    assert "| `patience` | integer or null, at least 1 | `null` |" in reference
    assert "| `precision` | `auto`, `fp32`, `bf16`, `fp16` | `auto` |" in reference
    assert all(f"`layout: {name}`" in reference for name in layout_sections)
    assert isinstance(layout_sections, Registry)
    assert Config.model_fields["decide"].default == [Component(name="auto")]
