"""Second implementation of the noise, from its definition, for the golden values in src/noise/tests.rs.

pip install mpmath blake3 && python3 golden.py        prints the values
python3 golden.py GRID_STEPS SIGMA < masses           total-variation distance of a table (one P(|K|=k) 2^63 a line)
"""
import struct
import sys

import blake3
import mpmath as mp

mp.mp.dps = 50


def chacha8(key, nonce, counter):
    """One 64-byte block: 64-bit counter, 64-bit nonce (Bernstein's layout), 8 rounds."""
    state = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key)
                 + struct.unpack("<4I", struct.pack("<QQ", counter, nonce)))
    x = state[:]

    def quarter(a, b, c, d):
        for p, q, r, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[p] = (x[p] + x[q]) & 0xFFFFFFFF
            v = x[r] ^ x[p]
            x[r] = ((v << n) | (v >> (32 - n))) & 0xFFFFFFFF

    for _ in range(4):
        for i in range(4):
            quarter(i, i + 4, i + 8, i + 12)
        for i in range(4):
            quarter(i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(x, state)))


def stream(seed, context, index, n):
    key = blake3.blake3(seed, derive_key_context=context).digest()
    return b"".join(chacha8(key, index, i) for i in range(n // 64 + 1))


def mass(k, sigma, steps):
    """P(|K| = k), k >= 1."""
    a, b = ((k - mp.mpf(1) / 2) / (steps * sigma), (k + mp.mpf(1) / 2) / (steps * sigma))
    return mp.erfc(a / mp.sqrt(2)) - mp.erfc(b / mp.sqrt(2))


def noise(seed, index, sigma, steps, n):
    sigma = mp.mpf(sigma)
    table, k = [], 1
    while (q := int(mp.nint(mass(k, sigma, steps) * 2**63))) > 0:
        table.append(q)
        k += 1
    tail, above = [], 0
    for q in reversed(table):
        above += q
        tail.append(above)
    tail.reverse()
    bits = 16 if len(tail) <= 4096 else 32
    leading = stream(seed, "smoothgate 1 noise leading bits", index, n * bits // 8)
    remaining = stream(seed, "smoothgate 1 noise remaining bits", index, n * 8)

    def count(v):
        low, high = 0, len(tail)
        while low < high:
            mid = (low + high) // 2
            low, high = (mid + 1, high) if tail[mid] > v else (low, mid)
        return low

    # A word of the second stream is used when the leading bits do not decide. With 32 bits the program may also use
    # one when they do, in a way that is its own business: there, only values that they decide can be compared.
    out, used = [], 0
    for j in range(n):
        prefix = int.from_bytes(leading[j * bits // 8:(j + 1) * bits // 8], "little")
        low = (prefix << (64 - bits)) & (2**63 - 1)
        high = low + 2**(64 - bits) - 1
        k = count(low)
        if k != count(high):
            if bits == 32:
                out.append(None)
                continue
            word = int.from_bytes(remaining[used * 8:used * 8 + 8], "little")
            used += 1
            k = count(low + (word >> bits))
        out.append(-k if prefix >> (bits - 1) else k)
    return out


if len(sys.argv) > 1:
    steps, sigma = int(sys.argv[1]), mp.mpf(float(sys.argv[2]))
    total, k = mp.mpf(0), 0
    for line in sys.stdin:
        p = mass(k, sigma, steps) if k else mp.erf(1 / (2 * steps * sigma) / mp.sqrt(2))
        total += abs(p - mp.mpf(int(line)) / 2**63)
        k += 1
    beyond = mp.erfc((k - mp.mpf(1) / 2) / (steps * sigma) / mp.sqrt(2))
    print("total variation", mp.nstr((total + beyond) / 2, 5))
else:
    seed = blake3.blake3(b"1", derive_key_context="smoothgate 1 seed from integer").digest()
    print("seed 1", seed.hex())
    for steps, sigma, index in ((255, 0.25, 0), (255, 1.0, 2**64 - 1), (65280, 0.25, 0), (65280, 1.0, 7)):
        values = noise(seed, index, sigma, steps, 2500)
        print(steps, sigma, index, values[:12], values[-12:], "undecided", values.count(None),
              "sum", sum(v or 0 for v in values), "weighted", sum((j + 1) * (v or 0) for j, v in enumerate(values)))
