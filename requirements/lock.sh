#!/bin/sh
# Write the pinned requirement files: hashes, no addresses. Each holds the whole of what stands below it.
set -eu
lock() {
    out=$1; shift
    .venv/bin/uv pip compile pyproject.toml "$@" --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet -o "requirements/$out.txt"
}
lock base --extra build
lock demo --extra build --extra espeak --extra normalise --extra import --extra demo
lock dev --extra build --extra espeak --extra normalise --extra import --extra demo --extra dev
lock bench --extra build --extra espeak --extra normalise --extra import --extra demo --extra bench
