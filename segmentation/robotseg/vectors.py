"""Two inner products as LLVM vector code, for numba: what compilers make of the plain loops is half as fast.

The sums of a tile stay in registers while the factors stream past. `LANES` numbers make a vector register, a row of a
tile is `WIDTH` numbers, two registers. Arrays are C-contiguous float32, offsets count numbers; nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8
WIDTH = 2 * LANES
VECTOR = ir.VectorType(ir.FloatType(), LANES)


class _Tile:
    """Writes the code of one tile: `rows` times two vectors of sums, a loop over k that adds to all."""

    def __init__(self, context: Any, builder: Any, arrays: list, offsets: list):
        self.builder, self.long = builder, offsets[0].type
        self.start = [
            builder.gep(make_array(kind)(context, builder, value).data, [offset])
            for (kind, value), offset in zip(arrays, offsets)
        ]
        self.fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), f"llvm.fma.v{LANES}f32"
        )

    def number(self, value: int) -> Any:
        return ir.Constant(self.long, value)

    def place(self, array: int, row: Any, vector: int) -> Any:
        """Address of a vector in row `row` of an array whose rows are WIDTH long."""
        offset = self.builder.add(self.builder.mul(row, self.number(WIDTH)), self.number(vector * LANES))
        return self.builder.bitcast(self.builder.gep(self.start[array], [offset]), VECTOR.as_pointer())

    def load(self, array: int, row: Any, vector: int) -> Any:
        return self.builder.load(self.place(array, row, vector), align=4)

    def repeated(self, array: int, offset: Any) -> Any:
        """One number in all lanes."""
        b = self.builder
        number = b.load(b.gep(self.start[array], [offset]))
        none = ir.Constant(VECTOR, ir.Undefined)
        first = b.insert_element(none, number, ir.Constant(ir.IntType(32), 0))
        return b.shuffle_vector(first, none, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

    def sums(self, start: list, count: Any, steps: tuple, factors: Callable, rows: int, array: int, out: int) -> None:
        """out[r] = start[r] + sum over k of factors(k) * array[steps[0] * r + steps[1] * k]."""
        b = self.builder
        before, loop, after = b.block, b.append_basic_block("sum"), b.append_basic_block("done")
        b.branch(loop)
        b.position_at_end(loop)
        k = b.phi(self.long)
        k.add_incoming(self.number(0), before)
        sums = [b.phi(VECTOR) for _ in start]
        for value, initial in zip(sums, start):
            value.add_incoming(initial, before)
        across = factors(k)
        added = []
        for r in range(rows):
            down = self.repeated(array, b.add(b.mul(steps[0], self.number(r)), b.mul(steps[1], k)))
            added += [b.call(self.fma, [across[v], down, sums[2 * r + v]]) for v in range(2)]
        following = b.add(k, self.number(1))
        k.add_incoming(following, loop)
        for value, new in zip(sums, added):
            value.add_incoming(new, loop)
        b.cbranch(b.icmp_signed("<", following, count), loop, after)
        b.position_at_end(after)
        for i, value in enumerate(added):
            b.store(value, self.place(out, self.number(i // 2), i % 2), align=4)


def score_tile(rows: int) -> Any:
    """Scores of `rows` keys: s[r] = b[:] + c[:] + sum over d of (u[d] + w[d]) * z[d, r], each s[r] WIDTH queries.

    Call with (u, u0, w, w0, b, b0, c, c0, z, z0, s, s0, depth, step): arrays and where in them to begin; d runs up to
    `depth`, a row of z has `step` numbers.
    """

    @intrinsic
    def tile(typingctx, u, u0, w, w0, b, b0, c, c0, z, z0, s, s0, depth, step):  # type: ignore[no-untyped-def]
        arguments = (u, u0, w, w0, b, b0, c, c0, z, z0, s, s0, depth, step)

        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            t = _Tile(context, builder, list(zip(signature.args[:12:2], values[:12:2])), list(values[1:12:2]))
            zero = t.number(0)
            start = [builder.fadd(t.load(2, zero, v), t.load(3, zero, v)) for _ in range(rows) for v in range(2)]

            def factors(k):  # type: ignore[no-untyped-def]
                return [builder.fadd(t.load(0, k, v), t.load(1, k, v)) for v in range(2)]

            t.sums(start, values[12], (t.number(1), values[13]), factors, rows, array=4, out=5)
            return context.get_dummy_value()

        return types.void(*arguments), generate

    return tile


def value_tile(rows: int) -> Any:
    """Adds weighted values: o[r] += sum over k of p[k] * m[r, k], each o[r] and p[k] WIDTH queries.

    Call with (p, p0, m, m0, o, o0, keys, step): sums run over `keys`, a row of m has `step` numbers.
    """

    @intrinsic
    def tile(typingctx, p, p0, m, m0, o, o0, keys, step):  # type: ignore[no-untyped-def]
        arguments = (p, p0, m, m0, o, o0, keys, step)

        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            t = _Tile(context, builder, list(zip(signature.args[:6:2], values[:6:2])), list(values[1:6:2]))
            start = [t.load(2, t.number(r), v) for r in range(rows) for v in range(2)]
            steps = values[7], t.number(1)
            t.sums(start, values[6], steps, lambda k: [t.load(0, k, v) for v in range(2)], rows, array=1, out=2)
            return context.get_dummy_value()

        return types.void(*arguments), generate

    return tile
