"""The erasure code over GF(2^8) ("Blocks and parity"): plain matrices, nothing clever."""

from __future__ import annotations

from functools import cache

POLYNOMIAL = 0x11D


def mul(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= POLYNOMIAL
        b >>= 1
    return product


@cache
def _times_table(c: int) -> bytes:
    return bytes(mul(c, x) for x in range(256))


def inverse(a: int) -> int:
    # The multiplicative group has 255 elements: a^254 is the inverse of a.
    out = 1
    for _ in range(254):
        out = mul(out, a)
    return out


Matrix = list[list[int]]


def _product(a: Matrix, b: Matrix) -> Matrix:
    columns = list(zip(*b))
    return [[_dot(row, column) for column in columns] for row in a]


def _dot(a: list[int], b: tuple[int, ...]) -> int:
    total = 0
    for x, y in zip(a, b):
        total ^= mul(x, y)
    return total


def _inverted(matrix: Matrix) -> Matrix:
    """Gauss and Jordan, with the identity beside the matrix."""
    size = len(matrix)
    rows = [row[:] + [int(i == j) for j in range(size)] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(r for r in range(column, size) if rows[r][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = inverse(rows[column][column])
        rows[column] = [mul(scale, x) for x in rows[column]]
        for r in range(size):
            factor = rows[r][column]
            if r != column and factor:
                rows[r] = [x ^ mul(factor, y) for x, y in zip(rows[r], rows[column])]
    return [row[size:] for row in rows]


def _power(base: int, exponent: int) -> int:
    out = 1
    for _ in range(exponent):
        out = mul(out, base)
    return out


@cache
def generator(k: int, n: int) -> tuple[tuple[int, ...], ...]:
    vandermonde = [[_power(r, c) for c in range(k)] for r in range(n)]
    return tuple(map(tuple, _product(vandermonde, _inverted(vandermonde[:k]))))


def _combine(coefficients: list[int] | tuple[int, ...], chunks: list[bytes]) -> bytes:
    total = 0
    size = len(chunks[0])
    for c, chunk in zip(coefficients, chunks):
        total ^= int.from_bytes(chunk.translate(_times_table(c)), "big")
    return total.to_bytes(size, "big")


def encode(k: int, n: int, data: list[bytes]) -> list[bytes]:
    """All N payloads from the K of the data chunks."""
    return data + [_combine(row, data) for row in generator(k, n)[k:]]


def rebuild(k: int, n: int, have: dict[int, bytes]) -> list[bytes]:
    """All K data payloads from any K payloads, by index."""
    if all(i in have for i in range(k)):
        return [have[i] for i in range(k)]
    chosen = sorted(have)[:k]
    back = _inverted([list(generator(k, n)[i]) for i in chosen])
    payloads = [have[i] for i in chosen]
    return [have[i] if i in have else _combine(back[i], payloads) for i in range(k)]
