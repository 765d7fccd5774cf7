#!/usr/bin/env bash
# update.sh PAGE_page.md... puts the pages that were made into docs/api.
set -euo pipefail

for page in "$@"; do
  name=$(basename "$page")
  install -m 644 "$page" "$BUILD_WORKSPACE_DIRECTORY/docs/api/${name%_page.md}.md"
done
