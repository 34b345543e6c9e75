#!/usr/bin/env bash
# Recompute the table of $CLAIMS into $OUT and show it on the page of the workflow's run; ends as `bench paper` does.
set -uo pipefail
bench paper "$CLAIMS" --out "$OUT"
code=$?
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
  for table in "$OUT"/*.md; do
    [ -e "$table" ] && cat "$table" >> "$GITHUB_STEP_SUMMARY"
  done
fi
exit "$code"
