#!/usr/bin/env bash
# Checks the arguments of the test.
[[ $# == 1 && $1 == "an argument" ]] || {
  echo "got $# arguments: $*, want one: an argument" >&2
  exit 1
}
