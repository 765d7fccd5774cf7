#!/usr/bin/env bash
# Stands for Bazel's merger of coverage data, which writes one file from all in a folder:
# lcov's, which Go tests write, and gcov's JSON.
set -euo pipefail
for arg; do
  case $arg in
    --coverage_dir=*) folder=${arg#*=} ;;
    --output_file=*) output=${arg#*=} ;;
  esac
done
find "$folder" -name '*.dat' -exec cat {} + >"$output"
find "$folder" -name '*.gcov.json.gz' -exec zcat {} + >>"$output"
