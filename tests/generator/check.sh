#!/usr/bin/env bash
# check.sh builds overlays, and an image, in each way in which Bazel runs a generator
# on this machine, in worker processes and in sandboxes:
#   - this repository's generator makes the same bytes in all of them;
#   - with a generator that makes corrupt images, the build fails in all of them.
#     Only the validation fails, and it says why;
#   - errors that only the generator can find fail the build, with the reason;
#   - a request that fails does not affect later requests of the worker.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# A cached action would not run the generator, and one without the configuration in its
# paths would not use a worker.
build() {
  ./bazelw build --modify_execution_info='Qcow2.*=+no-cache' --experimental_output_paths=off "$@" 2>&1
}

fail() {
  printf '%s\n' "$@"
  exit 1
}

# made_by rebuilds the overlays and checks which strategy ran the actions.
made_by() {
  local runner=$1 log
  shift
  rm -rf bazel-bin/tests/generator/{converted,disk,layer}.qcow2*
  log=$(build //tests/generator:{converted,disk,layer} "$@") || fail "a build with $* fails: $log"
  grep -q "[0-9] $runner\b" <<<"$log" || fail "no action of a build with $* ran as $runner: $log"
  (cd bazel-bin/tests/generator && sha256sum {converted,disk,layer}.qcow2{,.json,.check.txt})
}

# refused TARGET WORDS FLAGS... checks that only the generator fails, with these words.
refused() {
  local target=$1 words=$2 log
  shift 2
  if log=$(build "//tests/generator:$target" "$@"); then
    fail "the generator accepts $target: $log"
  fi
  grep -q "^qcow2gen: .*$words" <<<"$log" || fail "the build of $target does not say \"$words\": $log"
}

digests=$(made_by worker) || fail "$digests"
for strategy in \
  "worker --strategy=Qcow2Overlay=worker --strategy=Qcow2Check=worker" \
  "worker --worker_sandboxing" \
  "worker --noworker_multiplex" \
  "linux-sandbox --spawn_strategy=sandboxed" \
  "local --spawn_strategy=local"; do
  # shellcheck disable=SC2086 # a runner and a flag or two
  other=$(made_by $strategy) || fail "$other"
  if [[ $other != "$digests" ]]; then
    fail "$strategy makes different files:" "$digests" "$other"
  fi
done

for strategy in worker sandboxed; do
  flags=("--strategy=Qcow2Overlay=$strategy" "--strategy=Qcow2Check=$strategy")
  corrupt=(//tests/generator:disk --extra_toolchains=//tests/generator:corrupting_toolchain "${flags[@]}")
  if log=$(build "${corrupt[@]}"); then
    fail "a corrupt image passes: $log"
  fi
  for words in \
    "Checking qcow2 image bazel-out/.*/bin/tests/generator/disk.qcow2 failed" \
    "ERROR cluster 0 refcount=0 reference=1" \
    "1 errors were found on the image"; do
    grep -q "$words" <<<"$log" || fail "the build does not say \"$words\": $log"
  done
  log=$(build "${corrupt[@]}" --norun_validations) || fail "the build fails without the validation too: $log"

  refused refused '/refused.qcow2: backing file cannot be used: .*/refused.qcow2.backing/from_elsewhere.qcow2: it has a backing file itself, "nowhere.raw"; use an image without one$' "${flags[@]}"
done
refused refused_src '/from_elsewhere.qcow2: it has a backing file itself, "nowhere.raw"; use an image without one$'
refused refused_backing '/refused_backing.qcow2: backing file cannot be used: .*/from_elsewhere.qcow2: it has a backing file itself, "nowhere.raw"; use an image without one$'
refused too_small '/too_small.qcow2: size is 1048576 bytes, less than the virtual size of .*/disk.qcow2, which is 1073741824; '
refused truncated '/cut.qcow2: .*cut off'
[[ $(made_by worker) == "$digests" ]] || fail "the workers make different files after the errors"
