#!/bin/sh
# Puts the recorded answers of one log to three questions and compares what each certifies, without a single call.
#   sh examples/replay_questions.sh [LOG]
# `smoothgate` is the installed command, or set SMOOTHGATE to another one.
set -eu
log=${1:-examples/answers.jsonl}
smoothgate=${SMOOTHGATE:-smoothgate}

printf '%-12s %6s %10s %12s %12s\n' question rows certified votes/row mean_radius
for question in top1 clean-top "map:examples/classes.toml"; do
    # shellcheck disable=SC2086 -- SMOOTHGATE may hold a command with arguments
    $smoothgate replay "$log" --question "$question" --format tsv --quiet |
        awk -F '\t' -v question="${question%%:*}" '
            NR > 1 { rows++; certified += ($5 == "certified"); radius += $7; votes += $8 }
            END {
                if (!rows) exit 1
                printf "%-12s %6d %9.1f%% %12.1f %12.4f\n", question, rows, 100 * certified / rows, votes / rows, radius / rows
            }'
done
