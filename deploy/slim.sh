#!/bin/sh
# Take out of an environment what a server never needs: slim.sh ENVIRONMENT ESPEAK
set -eu
environment=$1 espeak=$2
case $espeak in
    yes) ;;
    no) "$environment/bin/pip" uninstall --quiet --yes espeakng-loader ;;
    *) echo "ESPEAK: got '$espeak', want yes or no" >&2; exit 2 ;;
esac
# What importers and builds need; pip last.
"$environment/bin/pip" uninstall --quiet --yes onnx ml-dtypes setuptools
"$environment/bin/pip" uninstall --quiet --yes pip
packages=$(echo "$environment"/lib/python3*/site-packages)
# Programs and tools for models that exist already, tests, C headers, type stubs.
rm -rf "$packages"/onnxruntime/tools "$packages"/onnxruntime/transformers "$packages"/onnxruntime/quantization \
    "$packages"/onnxruntime/datasets "$packages"/numpy/_core/include "$packages"/numpy/f2py
find "$packages" -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyi' -o -name '*.a' -o -name '*.h' -o -name '*.pxd' \) -delete
