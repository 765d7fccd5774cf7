#!/usr/bin/env bash
# checks.sh makes a release of the checkout in a scratch folder, for this machine
# only, and uses it as a consumer does. The release's folder is a mirror: nothing is
# downloaded from the public repository.
#
# checks.sh --measure prints how long a consumer's first build takes, with prebuilt
# programs and from source in turn, each time with empty caches.

set -uo pipefail

top=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..
top=$(readlink -f "$top")
version=0.0.1
failed=0

scratch=$(readlink -f "$(mktemp -d)") || exit
consumer=$scratch/consumer
mkdir "$consumer"
finish() {
  for base in base source; do
    [[ ! -d $scratch/$base ]] || bazel shutdown
  done
  chmod -R u+w "$scratch" && rm -rf "$scratch"
}
trap finish EXIT

# All consumers use one folder, one after the other, and one Bazel server. Those that
# must not see each other's repositories have an output base of their own.
base=base
bazel() { (cd "$consumer" && "$top/bazelw" --output_base="$scratch/$base" "$@") </dev/null; }

check() {
  echo "--- $1"
  if "$2"; then
    echo "passed: $1"
  else
    echo "FAILED: $1"
    ((failed += 1))
  fi
}

# Prints a commit with the content of the working tree, committed or not.
snapshot() {
  local commit
  commit=$(git -C "$top" -c user.name=checks -c user.email=checks stash create) || return
  echo "${commit:-$(git -C "$top" rev-parse HEAD)}"
}

# release FOLDER makes a release, from a clone of the repository.
release() {
  git clone --quiet --shared --no-checkout "$top" "$1.clone" &&
    git -C "$1.clone" checkout --quiet "$commit" &&
    "$1.clone/tools/release/release.sh" --commit "$commit" --platforms "$platform" \
      --url "https://nowhere.invalid" "$version" "$1"
}

releases_are_the_same() {
  release "$scratch/release" &&
    (umask 077 && TZ=Asia/Tokyo release "$scratch/another place") &&
    diff -r "$scratch/release" "$scratch/another place"
}

sums_are_right() {
  (cd "$scratch/release" && sha256sum --check SHA256SUMS)
}

no_tests_in_the_archive() {
  local archive=$scratch/release/rules_qcow2-v$version.tar.gz
  tar -xzf "$archive" -C "$scratch" || return
  ! tar -tzf "$archive" | sed "s:^rules_qcow2-$version/::" |
    grep -P '_test\.go$|(^|/)testdata/|^(docs/performance/[^/]*\.json$|\.bazelrc|bench/|bootstrap/|e2e/(?!smoke/|$)|internal/(?!(bounded|child|onterminal|patterns|replace|sparse|testtimeout|tty)/|$)|test\.sh|tests/)'
}

# The entry in the Bazel Central Registry is made from a template.
registry_finds_the_archive() {
  local template url prefix
  template=$(sed "s/{OWNER}/rules-qcow2/g; s/{REPO}/rules_qcow2/g; s/{TAG}/v$version/g; s/{VERSION}/$version/g" "$top/.bcr/source.template.json")
  url=$(sed -n 's/.*"url": "\(.*\)".*/\1/p' <<<"$template")
  prefix=$(sed -n 's/.*"strip_prefix": "\(.*\)".*/\1/p' <<<"$template")
  grep --fixed-strings "\"$url\"" "$scratch/release/notes.md" &&
    tar -tzf "$scratch/release/$(basename "$url")" "$prefix/MODULE.bazel" "$prefix/e2e/smoke/MODULE.bazel"
}

# consume FOLDER [LINES] copies a workspace, makes it use the release, and appends
# lines to its MODULE.bazel.
consume() {
  # The folder stays: without it, Bazel's server would end.
  find "$consumer" -mindepth 1 -delete
  cp -r "$top/$1/." "$consumer"
  rm -f "$consumer"/bazel-*
  sed '/^local_path_override(/,/^)/d; /^prebuilt/,$d' "$top/$1/MODULE.bazel" >"$consumer/MODULE.bazel"
  # The archive that users download; its checksum is in the notes.
  sed -n '/^archive_override/,/^)/p' "$scratch/release/notes.md" |
    sed "s|https://[^\"]*/|file://$scratch/release/|" >>"$consumer/MODULE.bazel"
  printf '%s\n' "${2-}" >>"$consumer/MODULE.bazel"
}

# A Go SDK that does not exist: a build that compiles Go fails.
NO_GO='
bazel_dep(name = "rules_go", version = "0.60.0")
go_sdk = use_extension("@rules_go//go:extensions.bzl", "go_sdk")
go_sdk.download(
    name = "no_go",
    sdks = {platform: ["no_go.tar.gz", "0" * 64] for platform in ["darwin_amd64", "darwin_arm64", "linux_amd64", "linux_arm64"]},
    urls = ["file:///nowhere/{}"],
    version = "1.24.0",
)
'

# prebuilt ATTRIBUTES prints the lines for MODULE.bazel.
prebuilt() {
  printf 'prebuilt = use_extension("@rules_qcow2//tools/prebuilt:extensions.bzl", "prebuilt")\nprebuilt.lock(%s)\n' "$1"
}

mirrors() { echo "mirrors = [\"file://$scratch/release\"], "; }

# fails_with TEXT COMMAND...
fails_with() {
  local text=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "the command passed, want a failure with: $text"
    return 1
  elif [[ $output != *"$text"* ]]; then
    echo "$output"
    echo "the command failed, want a failure with: $text"
    return 1
  fi
}

prebuilt_compiles_no_go() {
  consume examples/prebuilt "$NO_GO$(prebuilt "$(mirrors) required = True")"
  local arch=x86_64
  [[ $platform != *_arm64 ]] || arch=aarch64
  cat >>"$consumer/BUILD.bazel" <<END
load("@rules_qcow2//:defs.bzl", "qemu_boot_test", "qemu_vm")

# A machine with an agent. It is built, not run: any file serves as its kernel.
qemu_vm(
    name = "vm",
    arch = "$arch",
    kernel = ":disk",
)

# With graphics=off, the BIOS prints this on the serial port.
qemu_boot_test(
    name = "nothing_to_boot_test",
    size = "small",
    disks = [":disk"],
    # A later line, "No bootable device.", ends the machine.
    expect = ["Booting from Hard Disk"],
    machine = "q35,graphics=off",
    memory = "32M",
)
END
  bazel test --test_output=errors //... && no_go_actions
}

no_go_actions() {
  local actions
  actions=$(bazel aquery --output=text 'mnemonic("^Go", deps(//...))') || return
  if [[ -n $actions ]]; then
    echo "$actions"
    return 1
  fi
}

# Prints the repositories that builds have fetched.
fetched() { (cd "$scratch/$base/external" && ls) | grep --invert-match '^@'; }

# Repositories that only qcow2_image needs: the compressors, gazelle's way to fetch them,
# and the program.
COMPRESSORS='klauspost|go_modules|go_deps|go_repository|qcow2convert_'

no_compressor_is_fetched() {
  fetched
  ! fetched | grep --extended-regexp "$COMPRESSORS"
}

# add_image adds an image to the consumer's targets.
add_image() {
  cat >>"$consumer/BUILD.bazel" <<'END'
load("@rules_qcow2//:defs.bzl", "qcow2_image")

qcow2_image(
    name = "image",
    src = ":disk",
)

qcow2_check_test(
    name = "image_check_test",
    size = "small",
    image = ":image",
)
END
}

prebuilt_image() {
  add_image
  bazel test --test_output=errors //:image_check_test && no_go_actions &&
    fetched | grep "qcow2convert_$platform"
}

only_this_machines_is_fetched() {
  local fetched program
  for program in qcow2gen qcow2convert qcow2check vm vmboot agent; do
    fetched=$(find "$scratch/base/external" -maxdepth 1 -name "*${program}_*" ! -name '@*') || return
    [[ $fetched == *"${program}_$platform" && $fetched != *$'\n'* ]] || {
      echo "fetched: $fetched"
      return 1
    }
  done
}

# A lock file names the files as --distdir needs them.
distdir_works() {
  consume examples/prebuilt "$NO_GO$(prebuilt '')"
  bazel build //:disk --distdir="$scratch/release" --repository_cache=
}

from_source_works() {
  consume examples/prebuilt "$NO_GO$(prebuilt "$(mirrors)")"
  fails_with /nowhere/no_go.tar.gz bazel build //:disk \
    --extra_toolchains=@rules_qcow2//tools/qcow2gen:toolchain
}

overlays_from_source() {
  local base=source
  consume examples/prebuilt "$(prebuilt 'file = "//:lock.json"')"
  bazel build //:disk && no_compressor_is_fetched && ! compiles_compressors //:disk
}

# The same words find the compressors where there are some.
image_from_source() {
  local base=source
  add_image
  bazel test --test_output=errors //:image_check_test && compiles_compressors //:image &&
    fetched | grep klauspost_compress && ! fetched | grep --extended-regexp 'go_deps|go_repository'
}

# compiles_compressors TARGET prints the number of lines that say so.
compiles_compressors() {
  bazel aquery --output=text "mnemonic(GoCompilePkg, deps($1))" | grep --count klauspost
}

# proxy FOLDER makes a Go module proxy with the compressors.
proxy() {
  local module=github.com/klauspost/compress/@v
  mkdir -p "$1/$module" &&
    cp "$("$GO" env GOMODCACHE)/cache/download/$module"/v*.{info,mod,zip} "$1/$module"
}

# with_proxy FOLDER COMMAND... runs Bazel with that proxy and an empty module cache.
with_proxy() {
  bazel "${@:2}" --repo_env=GOPROXY="file://$1" --repo_env=GOMODCACHE="$1.cache"
}

compressors_from_proxy() {
  local base=source
  proxy "$scratch/proxy" && with_proxy "$scratch/proxy" build //:image && [[ -d $scratch/proxy.cache/github.com/klauspost ]]
}

changed_compressors() {
  local base=source changed=$scratch/changed
  proxy "$changed" || return
  chmod u+w "$changed"/github.com/klauspost/compress/@v/*.mod &&
    echo "// changed" >>"$(echo "$changed"/github.com/klauspost/compress/@v/*.mod)" &&
    fails_with "checksum mismatch" with_proxy "$changed" build //:image
}

smoke_passes() {
  consume e2e/smoke "$(prebuilt "$(mirrors)")"
  bazel test --test_output=errors //...
}

# In Bazel 8, a glob without matches is an error.
all_targets_build() {
  consume e2e/smoke
  bazel query --incompatible_disallow_empty_glob @rules_qcow2//... >/dev/null &&
    bazel build --incompatible_disallow_empty_glob @rules_qcow2//...
}

metadata_has_the_version() {
  local file
  consume e2e/smoke
  bazel build @rules_qcow2//:package_metadata &&
    file=$(bazel cquery --output=files @rules_qcow2//:package_metadata) &&
    grep --fixed-strings "\"pkg:bazel/rules_qcow2@$version\"" "$consumer/$file"
}

wrong_checksum() {
  consume examples/prebuilt "$(prebuilt "$(mirrors) file = \"//:lock.json\"")"
  sed 's/"sha256": "..../&0000/; s/\("sha256": "....0000.\{56\}\).*/\1",/' "$scratch/rules_qcow2-$version/tools/prebuilt/lock.json" >"$consumer/lock.json"
  fails_with "could not be downloaded from" bazel build //:disk
}

missing_platform() {
  consume examples/prebuilt "$(prebuilt 'file = "//:lock.json", required = True')"
  sed "s/\"$platform\"/\"windows_arm64\"/" "$scratch/rules_qcow2-$version/tools/prebuilt/lock.json" >"$consumer/lock.json"
  fails_with "does not have qcow2gen for this platform, which prebuilt.lock(required = True) needs; it has windows_arm64" \
    bazel build //:disk
}

no_lock() {
  consume examples/prebuilt "$(prebuilt 'file = "//:lock.json", required = True')"
  fails_with "//:lock.json does not list prebuilt programs, which prebuilt.lock(required = True) needs" bazel build //:disk
}

unknown_platform() {
  consume examples/prebuilt "$(prebuilt 'file = "//:lock.json"')"
  echo '{"qcow2gen": {"linux_x86": {}}}' >"$consumer/lock.json"
  fails_with '//:lock.json: unknown platform "linux_x86" of qcow2gen; use' bazel build //:disk
}

# first_build LINES prints the elapsed time and the processor time, in seconds, of a
# build without a server, an output base or a disk cache.
first_build() {
  local TIMEFORMAT="%R s, %U s user, %S s system"
  consume examples/prebuilt "$1"
  chmod -R u+w "$scratch/base" 2>/dev/null
  rm -rf "$scratch/base"
  # --batch: one process tree, so that `time` counts all processes.
  time bazel --batch build --disk_cache= --repository_cache= //:disk >"$scratch/build.log" 2>&1 ||
    cat "$scratch/build.log"
}

measure() {
  release "$scratch/release" || return
  for _ in 1 2 3; do
    echo "prebuilt"
    first_build "$(prebuilt "$(mirrors)")"
    echo "from source"
    first_build "$(prebuilt 'file = "//:lock.json"')"
  done
}

refused() {
  fails_with "version 'v1' must be numbers separated by dots" "$top/tools/release/release.sh" v1 "$scratch/new" &&
    fails_with "platform 'plan9_386' must be one of" "$top/tools/release/release.sh" --platforms plan9_386 1.0 "$scratch/new" &&
    fails_with "must be empty" "$top/tools/release/release.sh" 1.0 "$scratch/release"
}

# The checks compare bytes, so any version of Go works.
export GOTOOLCHAIN=local GO=go
if ! type -P go >/dev/null; then
  GO=$scratch/go
  printf '#!/bin/sh\nexec "%s/bootstrap/in-root" go "$@"\n' "$top" >"$GO"
  chmod +x "$GO"
fi
platform=$("$GO" env GOHOSTOS)_$("$GO" env GOHOSTARCH) && commit=$(snapshot) || exit

if [[ ${1:-} == --measure ]]; then
  measure
  exit
fi

check "two releases are the same, byte for byte" releases_are_the_same
check "SHA256SUMS is right" sums_are_right
check "the archive does not contain tests or their scripts" no_tests_in_the_archive
check "the registry finds the archive, and its test" registry_finds_the_archive
check "a consumer of prebuilt programs does not compile Go" prebuilt_compiles_no_go
check "without images, it does not fetch compressors" no_compressor_is_fetched
check "a prebuilt program converts its images" prebuilt_image
check "it fetches each program for one platform" only_this_machines_is_fetched
check "--distdir provides the programs" distdir_works
check "a consumer can choose to compile from source" from_source_works
check "overlays from source neither fetch nor compile compressors" overlays_from_source
check "an image from source compiles them" image_from_source
check "a Go module proxy of the user provides them" compressors_from_proxy
check "other files than those of go.sum are refused" changed_compressors
check "e2e/smoke passes with the archive" smoke_passes
check "all targets of the archive build" all_targets_build
check "package metadata has the version" metadata_has_the_version
check "a wrong checksum is refused" wrong_checksum
check "a missing platform is an error if programs are required" missing_platform
check "a lock file without programs is an error if they are required" no_lock
check "an unknown platform is refused" unknown_platform
check "bad arguments of release.sh are refused" refused

((failed == 0))
