"""Expands one xacro text; as a program, in a process of its own with little time and memory, for texts not trusted.

Xacro runs expressions of Python. Its own guard of ${...} looks at the outermost names only, and $(eval ...) leaves
Python's builtins within reach; the guard here looks at all names of both. Loops without end and texts that multiply
are left to the limits. Reads a JSON object from standard input: text, path, arguments, packages; writes one with
`urdf` or `error`. Imports nothing of this package, so that it starts quickly.
"""

from __future__ import annotations

import ast
import io
import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

SECONDS, BYTES, OUTPUT = 10, 2_000_000_000, 40_000_000
# ways from an object to the interpreter's insides, beside names with two underscores
INSIDES = frozenset(
    "gi_frame gi_code gi_yieldfrom cr_frame cr_code cr_await ag_frame ag_code ag_await f_back f_builtins f_code "
    "f_globals f_locals tb_frame tb_next mro".split()
)
BUILTINS = {f.__name__: f for f in (abs, bool, dict, float, int, len, list, map, max, min, round, str, sum)}


def run(text: str, path: str, arguments: Mapping[str, str], packages: Mapping[str, str]) -> str:
    """URDF text of a xacro text that lies at `path`; `packages` maps ROS packages to folders.

    Raises:
        Exception: of any kind, as expressions do.
    """
    import xacro
    from xacro import substitution_args
    from xacrodoc import XacroDoc
    from xacrodoc import packages as known

    xacro.safe_eval = substitution_args.eval = _evaluate
    for name in ("vars", "type"):  # they reach the insides by strings
        xacro._global_symbols["python"].pop(name, None)
    known.reset()
    known.update_package_cache(dict(packages))
    known.walk_up_from(path)
    xacro.init_stacks(path)
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        return XacroDoc.from_string(text, subargs=dict(arguments), resolve_packages=False).to_urdf_string()


def _evaluate(expression: str, globals: dict[str, Any], locals: Any = None) -> Any:
    """Takes the place of `xacro.safe_eval`, and of `eval` where xacro calls that.

    Raises:
        ValueError: a name that leads out of the expression.
    """
    tree = ast.parse(expression.strip(), "<expression>", "eval")
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if "__" in name or name in INSIDES:
            raise ValueError(f"the name {name!r} is not allowed in an expression")
    globals["__builtins__"] = BUILTINS
    return eval(compile(tree, "<expression>", "eval"), globals, locals)


def main() -> None:
    try:
        import resource

        for limit, value in (
            (resource.RLIMIT_AS, BYTES),
            (resource.RLIMIT_CPU, SECONDS),
            (resource.RLIMIT_FSIZE, OUTPUT),
        ):
            hard = resource.getrlimit(limit)[1]
            resource.setrlimit(limit, (value if hard < 0 else min(value, hard), hard))
    except (ImportError, ValueError, OSError):
        pass  # not on this system: the caller's time limit remains
    task = json.load(sys.stdin)
    try:
        answer = {"urdf": run(**task)}
    except Exception as error:
        full = isinstance(error, MemoryError) or isinstance(getattr(error, "exc", None), MemoryError)
        reason = "it needs too much memory" if full else " ".join(str(error)[:2000].split())
        answer = {"error": reason or type(error).__name__}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).resolve().parent]
    main()
