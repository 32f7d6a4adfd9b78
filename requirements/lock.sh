#!/bin/sh
# Write the pinned requirement files: hashes, no addresses. Each holds the whole of what stands below it.
set -eu
compile() {
    out=$1; shift
    .venv/bin/uv pip compile "$@" --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet -o "requirements/$out.txt"
}
lock() {
    out=$1; shift
    compile "$out" pyproject.toml --extra build "$@"
}
voice="--extra espeak --extra normalise --extra mandarin --extra import"
lock base
lock demo $voice --extra demo
lock server $voice --extra server
lock dev $voice --extra demo --extra report --extra server --extra aac --extra dev
lock openvino --extra openvino -c requirements/dev.txt
# Torch has no hash here: which build of it fits depends on the machine (torch.txt).
compile transformers requirements/transformers.in -c requirements/dev.txt
lock bench $voice --extra demo --extra server --extra bench -c requirements/dev.txt -c requirements/transformers.txt
compile fuzz requirements/fuzz.in -c requirements/dev.txt -c requirements/transformers.txt -c requirements/bench.txt
compile judge requirements/judge.in -c requirements/dev.txt -c requirements/transformers.txt
