"""The structure of a tree of arrays (a pytree): its leaves by path, and what it takes to build it again.

dicts, lists, tuples, named tuples and None are known here; where JAX is imported, so are all types that it knows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from s3dlio.checkpoint.tensors import is_array
from s3dlio.errors import ConfigError, CorruptDataError

#: What is no array, but can be written down.
_SCALARS = (bool, int, float, str)
_MAX_DEPTH = 200


class Child(NamedTuple):
    """One child of a node: its step of the path, as JAX writes it, its key, and itself."""

    step: str
    key: Any
    value: Any


class Flat(NamedTuple):
    """A tree taken apart: its structure, for JSON; its arrays, and its other leaves, by path, in order."""

    structure: Any
    arrays: dict[str, Any]
    values: dict[str, Any]


def flatten(tree: Any) -> Flat:
    """Take a tree apart.

    Raises:
        ConfigError: a leaf is neither an array nor a number, text or None, or a key is none of those.
    """
    arrays: dict[str, Any] = {}
    values: dict[str, Any] = {}

    def describe(node: Any, path: str, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ConfigError(f"the tree is deeper than {_MAX_DEPTH} levels, or contains itself")
        if node is None:
            return {"none": True}
        kind, children = _children(node)
        if kind is not None:
            return {kind: [[child.key, describe(child.value, path + child.step, depth + 1)] for child in children]}
        if path in arrays or path in values:
            raise ConfigError(f"two leaves of the tree have the path {path}")
        if type(node) in _SCALARS:
            values[path] = node
        elif is_array(node):
            arrays[path] = node
        else:
            raise ConfigError(
                f"tree{path} is a {type(node).__name__}, neither an array nor a number or text",
                hint="nothing is pickled: make it an array, or leave it out",
            )
        return {"leaf": path}

    return Flat(describe(tree, "", 0), arrays, values)


def rebuild(like: Any, leaf: Callable[[str, Any], Any], path: str = "") -> Any:
    """A tree as ``like``, each of its leaves replaced by ``leaf(path, it)``."""
    if like is None:
        return None
    kind, children = _children(like)
    if kind is None:
        return leaf(path, like)
    values = [rebuild(child.value, leaf, path + child.step) for child in children]
    if type(like) is dict:
        return {child.key: value for child, value in zip(children, values, strict=True)}
    if type(like) in (list, tuple):
        return type(like)(values)
    if isinstance(like, tuple):
        return type(like)(*values)
    import jax

    structure = jax.tree_util.tree_structure(like, is_leaf=lambda node: node is not like)
    return jax.tree_util.tree_unflatten(structure, values)


def build(structure: Any, leaves: Mapping[str, Any]) -> Any:
    """The tree of a structure that :func:`flatten` has made, and its leaves by path. Nodes of types that are not those
    of JSON become dicts by their keys.

    Raises:
        CorruptDataError: it is no such structure.
    """
    try:
        return _build(structure, leaves)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CorruptDataError(f"the structure of this tree is damaged: {error!r}"[:300]) from error


def _build(structure: Any, leaves: Mapping[str, Any]) -> Any:
    ((kind, value),) = structure.items()
    if kind == "leaf":
        return leaves[value]
    if kind == "none":
        return None
    children = [(key, _build(child, leaves)) for key, child in value]
    if kind in ("dict", "node"):
        return dict(children)
    if kind in ("list", "tuple"):
        values = [child for _, child in children]
        return values if kind == "list" else tuple(values)
    raise ValueError(f"a node of kind {kind!r}")


def _children(node: Any) -> tuple[str | None, list[Child]]:
    """The kind of a node and its children; None for a leaf."""
    if type(node) is dict:
        for key in node:
            if type(key) not in _SCALARS:
                raise ConfigError(f"a key of the tree is a {type(key).__name__}; keys are texts and numbers")
        return "dict", [Child(f"[{key!r}]", key, value) for key, value in node.items()]
    if type(node) is list or type(node) is tuple:
        return type(node).__name__, [Child(f"[{index}]", index, value) for index, value in enumerate(node)]
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return "node", [Child(f".{name}", name, value) for name, value in zip(node._fields, node, strict=True)]
    if type(node) in _SCALARS or is_array(node) or "jax" not in sys.modules:
        return None, []
    return _children_by_jax(node)


def _children_by_jax(node: Any) -> tuple[str | None, list[Child]]:
    from jax import tree_util

    found, _ = tree_util.tree_flatten_with_path(node, is_leaf=lambda each: each is not node)
    if len(found) == 1 and found[0][1] is node:
        return None, []
    children = []
    for path, value in found:
        key = next(getattr(path[0], name) for name in ("name", "key", "idx") if hasattr(path[0], name))
        if type(key) not in _SCALARS:
            raise ConfigError(f"a key of the tree is a {type(key).__name__}; keys are texts and numbers")
        children.append(Child(tree_util.keystr(path), key, value))
    return "node", children
