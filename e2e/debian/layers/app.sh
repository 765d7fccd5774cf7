#!/bin/bash
# Stands for a program that is tested. It is up when systemd has started it.
set -euo pipefail
[[ ${1-} == --serve ]] && exec sleep infinity
echo "the app"
