#!/usr/bin/env bash
# check.sh [BAZEL FLAGS...] runs tests of machines under KVM: they boot, resume from snapshots
# and fork. It takes a few minutes, and needs a host whose /dev/kvm the caller may open. It
# prints what failed, or in the last line that all passed.
#
# This project's own machines do not have KVM. Please report the output, of a success as
# well, with the line about the host.

set -uo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../boot" || exit
accelerator=${ACCELERATOR:-kvm} # tcg tries the script itself

fail() {
  printf '\nFAILED: %s\n' "$1"
  exit 1
}

# host prints what matters for guests.
host() {
  printf 'host: Linux %s, %s processors, %s' "$(uname -r)" "$(nproc)" "$(grep --max-count=1 --only-matching --perl-regexp '^model name\s*: \K.*' /proc/cpuinfo || uname -m)"
  printf ', clock source %s\n' "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
}

host
if [[ $accelerator == kvm ]]; then
  [[ -e /dev/kvm ]] || fail "/dev/kvm does not exist: load the module kvm_intel or kvm_amd, and in a virtual machine turn on nested virtualization"
  [[ -r /dev/kvm && -w /dev/kvm ]] || fail "/dev/kvm cannot be opened: add yourself to the group kvm"
  [[ $(uname -m) != x86_64 ]] || grep --quiet --extended-regexp '^flags.* (vmx|svm) ' /proc/cpuinfo ||
    fail "the processor has neither vmx nor svm, so that guests would crash: in a virtual machine, turn on nested virtualization"
fi

# The fingerprint of a snapshot says under what it was saved.
fingerprint=bazel-bin/snapshots/booted.fingerprint.json
flags=(--@rules_qcow2//qemu:accel="$accelerator" --nocache_test_results --keep_going "$@")
../../bazelw test "${flags[@]}" \
  //:linux_test //:uefi_test //agent/... //commands:commands_test //forks/... //network/... //snapshots/... ||
  fail "the tests that Bazel names above"
grep --quiet "\"accelerator\": \"$accelerator\"" "$fingerprint" || fail "the snapshot was not saved under $accelerator: $(cat "$fingerprint")"
printf '\nPASSED: machines boot, resume and fork under %s\n' "$accelerator"
