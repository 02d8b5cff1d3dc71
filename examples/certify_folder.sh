#!/bin/sh
# Certifies every picture of a folder and reads the JSON lines: what is certified, how far, and what it took.
#   sh examples/certify_folder.sh [FOLDER]
# Needs python3 to read JSON. `smoothgate` is the installed command, or set SMOOTHGATE to another one.
set -u
folder=${1:-examples/pictures}
smoothgate=${SMOOTHGATE:-smoothgate}
rows=$(mktemp) && trap 'rm -f "$rows"' EXIT

# shellcheck disable=SC2086 -- SMOOTHGATE may hold a command with arguments
$smoothgate certify "$folder" --sigma 0.25 --format jsonl --quiet >"$rows"
code=$?
# 0 all certified, 1 something abstained, 2 something could not be read; 3 and 4 mean that the run itself stopped.
[ "$code" -le 2 ] || exit "$code"

python3 - "$rows" <<'PY'
import json, sys

rows = [json.loads(line) for line in open(sys.argv[1])]
certified = [row for row in rows if row["outcome"] == "certified"]
print(f"{len(certified)} of {len(rows)} pictures certified with {sum(row['calls'] for row in rows)} calls")
for row in sorted(certified, key=lambda row: -row["radius"]):
    print(f"{row['radius']:.3f}  {row['label']:20}  {row['image']}")
for row in rows:
    if row["outcome"] == "failed":
        print(f"failed: {row['image']}: {row['error']}")
PY
exit "$code"
