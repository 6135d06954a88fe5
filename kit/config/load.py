"""Load and write the YAML of an experiment: inheritance, overrides, and all mistakes at once.

``base:`` inherits from another file, ``--set a.b=c`` overrides; the result is a complete ``Config``.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kit.config import Component, Config, LabeledSource
from kit.config.competition import section_of_layout
from kit.errors import KitError, first_few, raise_mistakes
from kit.registry import nearest
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import check_regular_file
from kit.wrong_values import printable, rule_for, shown_value

# Mapping with a name and its options -> the key of the name. With another name, a child inherits no options.
NAMED = dict.fromkeys(
    ("model", "classifier", "preset", "optimizer", "schedule", "loss", "balance", "average", "metric"),
    "name",
)
NAMED["train"] = "layout"
# The keys of `augment` that `pipeline` replaces.
REPLACED_BY_PIPELINE = {"preset", "hflip", "vflip", "erasing"}
SUFFIXES = (".yaml", ".yml")
BY_EPOCH = {"trains", "size_by_epoch"}  # mappings that a child replaces as a whole


def load_config(path: Path, overrides: Sequence[str] = (), progress: Progress = SILENT) -> Config:
    """Return the experiment of a YAML file, with its bases and the overrides applied.

    Args:
        path: A YAML file; its key ``base`` names another one, relative to it.
        overrides: ``key.path=value`` each, the value in YAML; applied last, in order.
        progress: Told which values are not inherited, because another model, loss or the like is named.

    Raises:
        KitError: The file, a base, an override or a value is wrong; the message has all mistakes.
    """
    merged: dict[str, Any] = {}
    for layer in [*_read_chain(path), *map(_read_override, overrides)]:
        for key, names in _not_inherited(merged, layer):
            progress.note(f"{key} is new, so these values of the base are not inherited: {first_few(names)}")
        merged = _inherit(merged, layer)
    return _validate(_resolved(merged, path), str(path))


def load_stored_config(path: Path) -> Config:
    """Return the config that an experiment stores, which is complete: without a base and references.

    Reading it as plain YAML takes a tenth of the time of ``load_config``, which explains what is wrong.

    Raises:
        KitError: As ``load_config``.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return Config.model_validate(yaml.load(path.read_text(encoding="utf-8"), loader))
    except (OSError, yaml.YAMLError, ValueError):
        return load_config(path)


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Return the experiment with other values, checked as those of a YAML file.

    Args:
        values: By dotted key, such as ``train.lr``; each replaces the whole value, with all its options.

    Raises:
        KitError: A key or a value is wrong; the message has all mistakes.
    """
    changed = config.model_dump()
    for key, value in values.items():
        *sections, last = key.split(".")
        section = changed
        for name in sections:
            section = section[name]
        section[last] = value
    return _validate(changed, config.name)


def parse_config(text: str, where: str) -> Config:
    """Return the experiment of a YAML text without ``base``; ``where`` names the text in messages."""
    from omegaconf import OmegaConf

    return _validate(OmegaConf.to_container(OmegaConf.create(text), resolve=True), where)


def _inherit(base: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Return ``base``, overridden key by key by ``child``.

    If the child names another model, loss, schedule or the like, it does not inherit the base's options.
    """
    result = {key: value for key, value in base.items() if not _replaces(child, key)}
    for key, value in child.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and key not in BY_EPOCH:
            result[key] = value if _is_renamed(key, old, value) else _inherit(old, value)
        else:
            result[key] = value
    return result


def _is_renamed(key: str, old: dict[str, Any], value: dict[str, Any]) -> bool:
    """Return whether a child names another model, loss or the like than its base."""
    names = NAMED.get(key, "")
    return bool(value.get(names, old.get(names)) != old.get(names))


def _not_inherited(
    base: dict[str, Any], child: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, list[str]]]:
    """Yield each new name in a child, as ``model.name``, with the base's values that it does not inherit."""
    for key, value in child.items():
        old = base.get(key)
        if not (isinstance(old, dict) and isinstance(value, dict)) or key in BY_EPOCH:
            continue
        if not _is_renamed(key, old, value):
            yield from _not_inherited(old, value, f"{prefix}{key}.")
        elif lost := [f"{name}: {old[name]}" for name in old if name not in value]:
            yield f"{prefix}{key}.{NAMED[key]}", lost


def _replaces(child: dict[str, Any], key: str) -> bool:
    """Return whether another key of the child replaces this key of the base."""
    if child.get("pipeline") is not None:
        return key in REPLACED_BY_PIPELINE
    return key == "pipeline" and bool(REPLACED_BY_PIPELINE & set(child))


def _resolved(values: dict[str, Any], path: Path) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        problem = f"does not resolve: {_first_line(error)}"
        raise KitError(path, problem, "Values are plain YAML", code="yaml_invalid") from error


def config_yaml(config: Config) -> str:
    """Return the experiment as YAML with all defaults; ``load_config`` reads it back equal."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(config.model_dump()))


def differences(old: Config, new: Config) -> list[str]:
    """Return one line ``key: old -> new`` for each value that differs between two experiments."""
    before, after = dict(leaves(old.model_dump())), dict(leaves(new.model_dump()))
    missing = object()
    return [
        f"{key}: {_shown(before.get(key, missing), missing)} -> {_shown(after.get(key, missing), missing)}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key, missing) != after.get(key, missing)
    ]


def _shown(value: object, missing: object) -> str:
    return "(none)" if value is missing else str(value)


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its dotted key, such as ``train.lr``."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_chain(path: Path) -> list[dict[str, Any]]:
    """Return the mappings of a file and its bases, the deepest base first."""
    chain: list[dict[str, Any]] = []
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        resolved = current.resolve()
        if resolved in seen:
            problem = f"inherits from itself through {current}"
            raise KitError(path, problem, "A chain of bases must end", code="base_cycle")
        seen.append(resolved)
        values = _read_yaml(current)
        base = values.pop("base", None)
        if base is not None and not isinstance(base, str):
            rule = "base is the name of one YAML file"
            raise KitError(current, f"base is {shown_value(base)}", rule, code="base_invalid")
        if base is not None and not base.endswith(SUFFIXES):
            rule = f"A base is a config: a file that ends in {' or '.join(SUFFIXES)}"
            raise KitError(current, f"base is {shown_value(base)}", rule, code="base_invalid")
        chain.insert(0, values)
        current = current.parent / base if base else None
    return chain


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    check_regular_file(path, "A config is a YAML file")
    if not path.is_file():
        beside = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        close = nearest(path.name, beside)
        hint = f"Did you mean {path.parent / close[0]}?" if close else "`kit init DATA` writes one."
        raise KitError(path, "does not exist", next=hint, code="config_missing")
    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except UnicodeDecodeError as error:
        rule = "A config is a YAML file"
        raise KitError(path, "is not UTF-8 text", rule, code="yaml_invalid") from error
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
        where = getattr(error, "problem_mark", None)
        place = f" in line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or _first_line(error)
        raise KitError(path, f"is not valid YAML{place}: {problem}", code="yaml_invalid") from error
    if not isinstance(values, dict):
        rule = "A config is a YAML mapping with name, competition, model, …"
        raise KitError(path, "is not a mapping", rule, code="yaml_invalid")
    return typing.cast(dict[str, Any], values)


def _read_override(override: str) -> dict[str, Any]:
    """Return ``key.path=value`` as a nested mapping; the value is YAML."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    key, equals, _ = override.partition("=")
    form = "The form is --set train.lr=3e-4"
    if not equals or not key.strip():
        raise KitError(f"--set {override}", "has no key or no '='", form, code="override_invalid")
    try:
        values = OmegaConf.to_container(OmegaConf.from_dotlist([override]), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        problem = f"is not valid YAML: {_first_line(error)}"
        raise KitError(f"--set {override}", problem, form, code="override_invalid") from error
    return typing.cast(dict[str, Any], values)


def read_components(texts: Sequence[str], where: str) -> list[Component]:
    """Return components from the command line: ``name``, or ``{name: x, option: 1}``.

    Raises:
        KitError: A text has neither form.
    """
    import yaml

    found = []
    for text in texts:
        try:
            found.append(Component.model_validate(yaml.safe_load(text)))
        except (yaml.YAMLError, ValidationError) as error:
            form = f"The form is {where} NAME, or {where} '{{name: NAME, option: 1}}'"
            problem = "is neither a name nor a mapping with a name"
            raise KitError(f"{where} {text}", problem, form, code="component_invalid") from error
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _validate(values: Any, where: str) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        mistakes = [_explain(mistake, values) for mistake in error.errors()]
    if len(mistakes) == 1:
        only = mistakes[0]
        raise KitError(f"{where}: {only.where}", only.problem, only.rule, only.next, code=only.code)
    raise_mistakes(where, mistakes)
    raise AssertionError("pydantic reports at least one error")


def _explain(mistake: Any, values: Any) -> KitError:
    """Return the error for a mistake that pydantic found: key, problem, allowed values, nearest spelling."""
    location = mistake["loc"]
    key, _ = _locate(location, values)
    kind, value = mistake["type"], mistake["input"]
    if kind == "extra_forbidden":
        sections = _locate(location[:-1], values)[1]
        known = [field.alias or name for s in sections for name, field in s.model_fields.items()]
        close = nearest(str(location[-1]), known)
        rule, hint = f"Keys here: {', '.join(known)}", f"Did you mean {close[0]}?" if close else ""
        return KitError(key, "is not a key", rule, hint, code="unknown_key")
    if kind == "missing":
        return KitError(key, "is required", code="key_missing")
    rule, problem = rule_for(mistake), f"is {shown_value(value)}"
    if kind == "literal_error":
        close = nearest(str(value), rule.removeprefix("Allowed: ").split(", "))
        hint = f"Did you mean {close[0]}?" if close else ""
        return KitError(key, problem, rule, hint, code="value_not_allowed")
    if kind == "value_error" and isinstance(value, dict | BaseModel):
        return KitError(key, rule, code="values_contradict")
    return KitError(key, problem, rule, code="value_invalid")


def _locate(location: Sequence[object], values: Any) -> tuple[str, list[type[BaseModel]]]:
    """Return pydantic's location of a value as a dotted key, and the sections that the value may be.

    The location also has the names of types in unions, which are not keys.
    """
    shown: list[str] = []
    sections: list[type[BaseModel]] = [Config]
    for part in location:
        fields = [f for s in sections for name, f in s.model_fields.items() if part in (name, f.alias)]
        if not fields and _is_type_name(part):
            continue
        shown.append(str(part))
        values = _inside(values, part)
        if fields:
            sections = _sections_in(fields[0].annotation)
        layout = section_of_layout(_inside(values, "layout"))
        sections = [layout if layout and s is LabeledSource else s for s in sections]
    return printable(".".join(shown)) or "(top level)", sections


def _inside(values: Any, key: object) -> Any:
    if isinstance(values, list) and isinstance(key, int) and key < len(values):
        return values[key]
    return values.get(key) if isinstance(values, Mapping) else None


def _is_type_name(part: object) -> bool:
    """Return whether a part of pydantic's location is the name of a type in a union, not a key."""
    return isinstance(part, str) and (
        part in {"str", "int", "float", "bool"} or part.startswith(("list[", "literal["))
    )


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that a field can hold, itself or in a list or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for inner in typing.get_args(annotation) for section in _sections_in(inner)]
