#!/usr/bin/env bash
# Checks the arguments, the variables and the files of the test.
[[ $# == 1 && $1 == "an argument" ]] || {
  echo "got $# arguments: $*, want one: an argument" >&2
  exit 1
}
[[ $GIVEN == "a value" && -f $GIVEN_FILE && -n ${HOME-} ]] || {
  echo "GIVEN is '${GIVEN-}', GIVEN_FILE is '${GIVEN_FILE-}', HOME is '${HOME-}'" >&2
  exit 1
}
