"""Shared. YAML of authors who are not trusted: whatever they wrote, errors are those of YAML."""

from typing import Any

import yaml
from yaml.constructor import SafeConstructor

# Aliases and depth are looked at before anything is built: a few bytes can stand for any amount.
MAX_DEPTH = 32


class Values(SafeConstructor):
    """Beside a loader of PyYAML, whose own constructors raise what Python does, such as KeyError.

    An error tells the place and not what stands there, which may be a secret.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; `yaml.MarkedYAMLError` where it is not what its tag says."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, ValueError) as error:
            tag = node.tag.rpartition(":")[2]
            raise wrong(f"the value is not valid for {tag!r}", node) from error


class _TextKeys(Values):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep)
        if not all(isinstance(key, str) for key in found):
            raise wrong("a key is no text", node)
        return found


# The loader written in Python takes minutes for some small files.
YamlLoader: Any = type("YamlLoader", (_TextKeys, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), {})


def parse(text: str) -> Any:
    """Plain values, their keys texts; `ValueError` or `yaml.YAMLError` says what is wrong."""
    _check_shape(text)
    return YamlLoader(text).get_single_data()


def wrong(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    """The error for `problem` at the place of `node`."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _check_shape(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, YamlLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("YAML aliases are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
