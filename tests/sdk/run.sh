#!/usr/bin/env bash
# The official SDKs against smoothgate: their models judge what we say on the wire, and they are clients of the emulator.
# Needs Python 3.10 or newer and PyPI. What is installed is kept under target/sdk for the next time.
set -euo pipefail
cd "$(dirname "$0")/../.."

target="${CARGO_TARGET_DIR:-target}"
folder="$target/sdk"
python="$folder/venv/bin/python"
requirements=tests/sdk/requirements.txt
stamp="$folder/requirements.txt"

if ! cmp -s "$requirements" "$stamp"; then
    echo "installing the SDKs into $folder/venv"
    rm -rf "$folder/venv" "$stamp"
    mkdir -p "$folder"
    if ! python3 -m venv "$folder/venv" ||
        ! "$python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"; then
        echo "error: the SDKs of $requirements could not be installed (see above): is PyPI within reach?" >&2
        exit 1
    fi
    cp "$requirements" "$stamp"
fi

echo "building"
# As the tests are built: after them there is nothing left to do.
cargo test --workspace --no-run --locked --quiet
samples="$(mktemp -d)"
trap 'rm -rf "$samples"' EXIT
"$target/debug/examples/wire_samples" "$samples"

echo "wire format against the SDKs' models"
"$python" tests/sdk/validate_models.py "$samples"
echo "SDKs as clients of the emulator"
"$python" tests/sdk/clients.py "$target/debug/smoothgate"
echo "SDKs as clients of the proxy"
"$python" tests/sdk/proxy.py "$target/debug/smoothgate"
