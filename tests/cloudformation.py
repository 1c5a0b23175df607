"""Reads CloudFormation templates as the service does: SAM's transform, parameters, rules, conditions, functions."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import yaml

from tests.data import ROOT

ACCOUNT = "123456789012"
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::AccountId": ACCOUNT,
    "AWS::StackName": "adtailor",
    "AWS::URLSuffix": "amazonaws.com",
}
_NOTHING = object()  # AWS::NoValue


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads CloudFormation's short tags: ``!Ref X`` as ``{"Ref": "X"}``, ``!Sub X`` as ``{"Sub": "X"}``, …."""


def _tagged(loader: Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    raise AssertionError(f"!{suffix} on a mapping")


Loader.add_multi_constructor("!", _tagged)


def load(path: Path) -> dict[str, Any]:
    """The template with its functions as single-key mappings."""
    loaded: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader)
    return loaded


def expanded(path: Path, *, short: bool = True, **changes: Mapping[str, Any]) -> dict[str, Any]:
    """The template as SAM's transform leaves it, made in this process.

    short: in the form that `load` gives, else as CloudFormation gets it. changes: by logical id, properties to set
    before.
    """
    translator = _translator("translator.translator").Translator
    parser = _translator("parser.parser").Parser
    template = _translator("yaml_helper").yaml_parse(path.read_text(encoding="utf-8"))
    places = {  # `sam deploy` uploads what lies at these, and writes where to
        "AWS::Serverless::Function": ("CodeUri", "s3://packages/{}"),
        "AWS::Serverless::LayerVersion": ("ContentUri", "s3://packages/{}"),
        "AWS::CloudFormation::Stack": ("TemplateURL", "https://s3.amazonaws.com/packages/{}"),
    }
    for name, resource in template["Resources"].items():
        if resource["Type"] in places:
            key, place = places[resource["Type"]]
            resource["Properties"][key] = place.format(name)
        resource.setdefault("Properties", {}).update(changes.get(name, {}))
    session = boto3.Session(region_name=PSEUDO["AWS::Region"])
    whole: dict[str, Any] = translator({}, parser(), boto_session=session).translate(template, {})
    return _short(whole) if short else whole


def _translator(module: str) -> Any:
    """A module of SAM's translator, which `make` keeps apart: it asks for an older pydantic than it needs."""
    folder = str(ROOT / ".tools" / "translator")
    if folder not in sys.path:
        sys.path.append(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"samtranslator.{module}")


def _short(node: Any) -> Any:
    """``{"Fn::X": …}`` as ``{"X": …}``, and what ``GetAtt`` takes as one string."""
    if isinstance(node, list):
        return [_short(one) for one in node]
    if not isinstance(node, dict):
        return node
    short = {key.removeprefix("Fn::"): _short(value) for key, value in node.items()}
    if list(short) == ["GetAtt"] and isinstance(short["GetAtt"], list):
        short["GetAtt"] = ".".join(short["GetAtt"])
    return short


@dataclass
class Stack:
    """A template with values for its parameters.

    attributes: what ``!GetAtt A.B`` and ``!Ref A`` of resources give (under ``A.B``, ``A``); else ``<A.B>``, ``<A>``.
    """

    template: dict[str, Any]
    given: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.given) - set(self.template["Parameters"])
        assert not unknown, f"no such parameters: {unknown}"

    def parameter(self, name: str) -> str:
        declared = self.template["Parameters"][name]
        assert name in self.given or "Default" in declared, f"parameter {name} has no value"
        return str(self.given.get(name, declared.get("Default")))

    def refused(self) -> list[str]:
        """Parameters whose value the template does not allow, and descriptions of the rules that are broken."""
        problems = []
        for name, declared in self.template["Parameters"].items():
            value = self.parameter(name)
            pattern = declared.get("AllowedPattern")
            allowed = [str(one) for one in declared.get("AllowedValues", [value])]
            if value not in allowed or (pattern is not None and not re.fullmatch(pattern, value)):
                problems.append(name)
        for rule in self.template.get("Rules", {}).values():
            if self.resolve(rule.get("RuleCondition", True)):
                problems += [a["AssertDescription"] for a in rule["Assertions"] if not self.resolve(a["Assert"])]
        return problems

    def condition(self, name: str) -> bool:
        return bool(self.resolve(self.template["Conditions"][name]))

    def resources(self) -> dict[str, dict[str, Any]]:
        """Those that are made, with resolved properties."""
        return {
            name: one | {"Properties": self.resolve(one.get("Properties", {}))}
            for name, one in self.template["Resources"].items()
            if "Condition" not in one or self.condition(one["Condition"])
        }

    def outputs(self) -> dict[str, Any]:
        return {
            name: self.resolve(one["Value"])
            for name, one in self.template["Outputs"].items()
            if "Condition" not in one or self.condition(one["Condition"])
        }

    def resolve(self, node: Any) -> Any:
        """`node` without functions; what is ``AWS::NoValue`` is left out."""
        found = self._resolve(node)
        return None if found is _NOTHING else found

    def _resolve(self, node: Any) -> Any:
        if isinstance(node, list):
            return [one for one in map(self._resolve, node) if one is not _NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            function = getattr(self, f"_{name.lower()}", None)
            if name[0].isupper() and function is not None:
                return function(argument)
        values = {key: self._resolve(value) for key, value in node.items()}
        return {key: value for key, value in values.items() if value is not _NOTHING}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.template["Parameters"]:
            return self.parameter(name)
        resource = name.partition(".")[0]  # SAM has references such as Function.Alias
        assert resource in self.template["Resources"], f"nothing is called {name}"
        return self.attributes.get(name, f"<{name}>")

    def _getatt(self, place: str) -> str:
        name = place.partition(".")[0]
        assert name in self.template["Resources"], f"no resource {name}"
        condition = self.template["Resources"][name].get("Condition")
        assert condition is None or self.condition(condition), f"{place}: {name} is not made"
        return self.attributes.get(place, f"<{place}>")

    def _sub(self, argument: Any) -> str:
        text, own = argument if isinstance(argument, list) else (argument, {})
        values = {name: self._resolve(value) for name, value in own.items()}

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in values:
                return str(values[name])
            return str(self._getatt(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", value, text)

    def _if(self, argument: list[Any]) -> Any:
        return self._resolve(argument[1 if self.condition(argument[0]) else 2])

    def _condition(self, name: str) -> bool:
        return self.condition(name)

    def _equals(self, argument: list[Any]) -> bool:
        left, right = (str(self._resolve(one)) for one in argument)
        return left == right

    def _not(self, argument: list[Any]) -> bool:
        return not self._resolve(argument[0])

    def _and(self, argument: list[Any]) -> bool:
        return all(self._resolve(one) for one in argument)

    def _or(self, argument: list[Any]) -> bool:
        return any(self._resolve(one) for one in argument)

    def _select(self, argument: list[Any]) -> Any:
        return self._resolve(argument[1])[int(argument[0])]

    def _join(self, argument: list[Any]) -> str:
        delimiter, parts = argument
        return str(delimiter).join(str(one) for one in self._resolve(parts))

    def _split(self, argument: list[Any]) -> list[str]:
        delimiter, text = argument
        assert isinstance(delimiter, str), "a delimiter cannot be a function"
        return str(self._resolve(text)).split(delimiter)

    def _findinmap(self, argument: list[Any]) -> Any:
        found = self.template["Mappings"][argument[0]]
        for key in argument[1:]:
            found = found[self._resolve(key)]
        return found


def statements(role: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The statements of a role's (resolved) inline policies, with actions and resources as lists."""
    for policy in role["Properties"]["Policies"]:
        for one in policy["PolicyDocument"]["Statement"]:
            yield one | {"Action": listed(one["Action"]), "Resource": listed(one["Resource"])}


def listed(one_or_more: Any) -> list[Any]:
    """IAM lets a list of one be written without brackets."""
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]
