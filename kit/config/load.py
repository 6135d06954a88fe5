"""The YAML of an experiment read and written: inheritance, overrides, and every mistake at once.

`base:` inherits from another file, `--set a.b=c` overrides; what comes out is a complete `Config`.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kit.config import Component, Config
from kit.errors import KitError
from kit.registry import nearest

# Mappings whose other keys belong to what they name, and the key that names it.
NAMED = dict.fromkeys(
    ("model", "preset", "optimizer", "schedule", "loss", "balance", "average", "metric"), "name"
)
NAMED["train"] = "layout"
# A free pipeline says all that these say.
SAID_BY_PIPELINE = {"preset", "hflip", "vflip", "erasing"}
BY_EPOCH = {"trains", "size_by_epoch"}  # plans that are inherited whole or not at all


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Return the experiment that ``path`` describes, its bases and the overrides applied.

    Args:
        path: A YAML file; its key ``base`` names another one, relative to it.
        overrides: ``key.path=value`` each, the value in YAML; applied last, in order.

    Raises:
        KitError: The file, a base, an override or any value is wrong; every mistake is in the message.
    """
    merged: dict[str, Any] = {}
    for layer in [*_read_chain(path), *map(_read_override, overrides)]:
        merged = _inherit(merged, layer)
    return _validate(_resolved(merged, path), str(path))


def _inherit(base: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` overridden key by key by ``child``.

    Where the child names another model, loss, schedule or the like, it takes nothing of what the base said of
    its own.
    """
    result = {key: value for key, value in base.items() if not _replaces(child, key)}
    for key, value in child.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and key not in BY_EPOCH:
            names = NAMED.get(key, "")
            renamed = value.get(names, old.get(names)) != old.get(names)
            result[key] = value if renamed else _inherit(old, value)
        else:
            result[key] = value
    return result


def _replaces(child: dict[str, Any], key: str) -> bool:
    """Tell whether what a child says leaves nothing of what its base said under another key."""
    if child.get("pipeline") is not None:
        return key in SAID_BY_PIPELINE
    return key == "pipeline" and bool(SAID_BY_PIPELINE & set(child))


def _resolved(values: dict[str, Any], path: Path) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise KitError(path, f"does not resolve: {_first_line(error)}", "Values are plain YAML") from error


def config_yaml(config: Config) -> str:
    """Return the experiment as YAML, every default written out; ``load_config`` reads it back equal."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(config.model_dump()))


def differences(old: Config, new: Config) -> list[str]:
    """Return one line ``key: old -> new`` for every value in which two experiments differ."""
    before, after = dict(_leaves(old.model_dump())), dict(_leaves(new.model_dump()))
    missing = object()
    return [
        f"{key}: {_shown(before.get(key, missing), missing)} -> {_shown(after.get(key, missing), missing)}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key, missing) != after.get(key, missing)
    ]


def _shown(value: object, missing: object) -> str:
    return "(none)" if value is missing else str(value)


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_chain(path: Path) -> list[dict[str, Any]]:
    """Return the file's mapping and its bases', the deepest base first."""
    chain: list[dict[str, Any]] = []
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        resolved = current.resolve()
        if resolved in seen:
            raise KitError(path, f"inherits from itself through {current}", "A chain of bases must end")
        seen.append(resolved)
        values = _read_yaml(current)
        base = values.pop("base", None)
        if base is not None and not isinstance(base, str):
            raise KitError(current, f"base is {base!r}", "base: the name of one YAML file")
        chain.insert(0, values)
        current = current.parent / base if base else None
    return chain


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not path.is_file():
        beside = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        close = nearest(path.name, beside)
        hint = f"Did you mean {path.parent / close[0]}?" if close else "`kit init DATA` writes one."
        raise KitError(path, "there is no such config file", next=hint)
    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except UnicodeDecodeError as error:
        raise KitError(path, "is not UTF-8 text", "A config is a YAML file") from error
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
        where = getattr(error, "problem_mark", None)
        place = f" in line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or _first_line(error)
        raise KitError(path, f"is not valid YAML{place}: {problem}") from error
    if not isinstance(values, dict):
        raise KitError(
            path, "holds no mapping", "A config is a YAML mapping with name, competition, model, …"
        )
    return typing.cast(dict[str, Any], values)


def _read_override(override: str) -> dict[str, Any]:
    """Return ``key.path=value`` as a nested mapping, the value read as YAML."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    key, equals, _ = override.partition("=")
    form = "The form is --set train.lr=3e-4"
    if not equals or not key.strip():
        raise KitError(f"--set {override}", "has no key or no '='", form)
    try:
        values = OmegaConf.to_container(OmegaConf.from_dotlist([override]), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise KitError(f"--set {override}", f"is not valid YAML: {_first_line(error)}", form) from error
    return typing.cast(dict[str, Any], values)


def read_components(texts: Sequence[str], where: str) -> list[Component]:
    """Return components given on the command line: ``name``, or ``{name: x, option: 1}``.

    Raises:
        KitError: One is neither.
    """
    import yaml

    found = []
    for text in texts:
        try:
            found.append(Component.model_validate(yaml.safe_load(text)))
        except (yaml.YAMLError, ValidationError) as error:
            form = f"The form is {where} NAME, or {where} '{{name: NAME, option: 1}}'"
            raise KitError(f"{where} {text}", "is neither a name nor a mapping with one", form) from error
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _validate(values: Any, where: str) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
    if len(problems) == 1:
        raise KitError(where, problems[0])
    listed = "".join(f"\n  - {problem}" for problem in problems)
    raise KitError(where, f"{len(problems)} mistakes:{listed}\n")


def _explain(problem: Any) -> str:
    """Return one pydantic problem as ``key: what is wrong, what is allowed, the nearest spelling``."""
    key, sections = _locate(problem["loc"])
    kind, value = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        parents = _locate(problem["loc"][:-1])[1]
        known = [field.alias or name for s in parents for name, field in s.model_fields.items()]
        close = nearest(str(problem["loc"][-1]), known)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        return f"{key} is not a key; {hint}"
    if kind == "missing":
        return f"{key} must be given"
    if kind == "union_tag_not_found":
        return f"{key}.layout must be given"
    if kind == "union_tag_invalid":
        layouts = [str(_tag(section)) for section in sections]
        return f"{key}.layout is {problem['ctx']['tag']!r}; allowed: {_or_nearest(value['layout'], layouts)}"
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return (
            f"{key}: {message}" if isinstance(value, dict | BaseModel) else f"{key} is {value!r}: {message}"
        )
    if kind == "literal_error":
        allowed = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{key} is {value!r}; allowed: {_or_nearest(value, allowed)}"
    return f"{key} is {value!r}: {message[0].lower()}{message[1:]}"


def _or_nearest(value: object, allowed: list[str]) -> str:
    close = nearest(str(value), allowed)
    quoted = ", ".join(f"'{name}'" for name in allowed)
    return f"{quoted}; nearest: {close[0]}" if close else quoted


def _locate(location: Sequence[object]) -> tuple[str, list[type[BaseModel]]]:
    """Return a place in the YAML as a dotted key, and the sections that may stand there.

    Pydantic's location also names the branches of unions, which are no keys: types, and the tags of layouts.
    """
    shown: list[str] = []
    sections: list[type[BaseModel]] = [Config]
    for part in location:
        fields = [f for s in sections for name, f in s.model_fields.items() if part in (name, f.alias)]
        tagged = [section for section in sections if _tag(section) == part]
        if fields:
            sections = _sections_in(fields[0].annotation)
        elif tagged:
            sections = tagged
        if fields or not (tagged or _is_type_name(part)):
            shown.append(str(part))
    return ".".join(shown) or "(top level)", sections


def _is_type_name(part: object) -> bool:
    """Tell whether a part of pydantic's location is the name of a type in a union, not a key."""
    return isinstance(part, str) and (
        part in {"str", "int", "float", "bool"} or part.startswith(("list[", "literal["))
    )


def _tag(section: type[BaseModel]) -> str | None:
    """Return the layout that a section is for, if it is one of several."""
    layout = section.model_fields.get("layout")
    return str(typing.get_args(layout.annotation)[0]) if layout else None


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that a field can hold, itself or in a list or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for inner in typing.get_args(annotation) for section in _sections_in(inner)]
