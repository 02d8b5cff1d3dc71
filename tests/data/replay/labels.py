"""Writes labels.jsonl and prints what `clean-labels` certifies on it, by a table of its own: python3 labels.py

A record has 60 answers about noisy copies. Label number k of the clean answer is left out of every answer whose number is a
multiple of a step of its own, and some answers never came. The table is the greedy one of one bound (exact law of the
dissents at the edge), the futility rule is left out: what gives up early certifies nothing later, and no record is near it.
"""
import json
from math import ceil, log
from statistics import NormalDist

SIGMA, ALPHA, VOTES, RADIUS = 0.25, 0.05, 60, 0.1
# By record: the clean answer as (label, score, step), and which answers never came.
RECORDS = [
    ([("Dog", 0.9, 0), ("Animal", 0.8, 0), ("Snout", 0.7, 3), ("Grass", 0.4, 0)], []),
    ([("Cat", 0.9, 2), ("Animal", 0.8, 0), ("Whiskers", 0.8, 0)], []),
    ([("Tree", 0.6, 0), ("plant", 0.6, 0), ("Green", None, 0)], [4, 9, 14]),
    ([], []),
    ([("Car", 0.9, 9), ("car", 0.5, 0), ("Wheel", 0.3, 4)], []),
]


def table(level, n_max, tau):
    """certify_at[dissents], by the law of the dissents when the label has probability tau."""
    law, spent, at = {0: 1.0}, 0.0, []
    for t in range(1, n_max + 1):
        new = {}
        for f, mass in law.items():
            new[f] = new.get(f, 0.0) + mass * tau
            new[f + 1] = new.get(f + 1, 0.0) + mass * (1 - tau)
        law = new
        share = t / n_max
        fewest = ceil(log(level) / log(tau))
        if n_max > 10 * fewest:
            share = share ** 0.5
        mass = law.get(len(at), 0.0)
        if spent + mass <= level * (1 - 1e-9) * share:
            spent += mass
            law.pop(len(at), None)
            at.append(t)
    return at


def certified(at, votes):
    for t in range(1, len(votes) + 1):
        dissents = votes[:t].count(False)
        if dissents < len(at) and t >= at[dissents]:
            return t
    return None


def main():
    tau = NormalDist().cdf(RADIUS / SIGMA)
    with open("labels.jsonl", "w") as out:
        for idx, (clean, lost) in enumerate(RECORDS):
            names = [name for name, _, _ in clean]
            answer = lambda i: [
                [k, score] for k, (_, score, step) in enumerate(clean) if not (step and i % step == 0)
            ]
            votes = [None if i in lost else answer(i) for i in range(VOTES)]
            record = dict(api="demo", denoiser="none", sigma=SIGMA, idx=idx, n0=20, n=40, names=names,
                          clean=[[k, score] for k, (_, score, _) in enumerate(clean)], votes=votes)
            out.write(json.dumps(record, separators=(",", ":")) + "\n")
            # Highest score first, ties by lower-cased name, no score last; each name once.
            order = sorted(range(len(clean)), key=lambda k: (clean[k][1] is None, -(clean[k][1] or 0), names[k].lower()))
            asked = []
            for k in order:
                if names[k].lower() not in [names[j].lower() for j in asked]:
                    asked.append(k)
            for sharing in ("even", "sequence"):
                level = ALPHA / len(asked) if asked and sharing == "even" else ALPHA
                open_, result = True, []
                for k in asked:
                    present = [
                        v is not None and any(names[j].lower() == names[k].lower() for j, _ in v) for v in votes
                    ]
                    at = certified(table(level, VOTES, tau), present)
                    open_ = open_ and at is not None if sharing == "sequence" else at is not None
                    result.append((names[k], at if open_ else None))
                print(idx, sharing, result)


main()
