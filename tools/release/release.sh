#!/usr/bin/env bash
# release.sh [OPTIONS] VERSION FOLDER makes the files of a release in FOLDER:
#
#   rules_qcow2-vVERSION.tar.gz  the module, without tests
#   PROGRAM-VERSION-PLATFORM     the programs, which the module's lock file lists
#   SHA256SUMS                   the checksums of these files
#   notes.md                     the lines for a consumer's MODULE.bazel
#
#   --commit COMMIT              the commit to release; the default is HEAD
#   --platforms "OS_ARCH ..."    the platforms to build for; the default is all
#   --url URL                    the folder that consumers download the programs
#                                from; the default is the public repository's release
#
# The bytes depend only on the commit and on the version of Go: the version below,
# which any other go command downloads. GOTOOLCHAIN=local uses the installed version.
# GO is the go command.

set -euo pipefail

GO_VERSION=go1.26.8
PLATFORMS="darwin_amd64 darwin_arm64 linux_amd64 linux_arm64 windows_amd64 windows_arm64"
PROGRAMS="qcow2gen qcow2convert qcow2check vm vmboot agent"
LOCK=tools/prebuilt/lock.json

die() {
  echo "release.sh: $*" >&2
  exit 1
}

main() {
  local commit=HEAD platforms=$PLATFORMS url=
  while [[ ${1:-} == --* ]]; do
    (($# >= 2)) || die "$1 needs a value"
    case $1 in
      --commit) commit=$2 ;;
      --platforms) platforms=$2 ;;
      --url) url=${2%/} ;;
      *) die "unknown option $1; use --commit, --platforms or --url" ;;
    esac
    shift 2
  done
  (($# == 2)) || die "usage: release.sh [--commit COMMIT] [--platforms \"OS_ARCH ...\"] [--url URL] VERSION FOLDER"
  local version=$1 folder platform
  [[ $version =~ ^[0-9]+(\.[0-9]+)*(-[0-9A-Za-z.-]+)?$ ]] || die "version '$version' must be numbers separated by dots, with an optional suffix, as in 1.2.0-rc1"
  for platform in $platforms; do
    [[ " $PLATFORMS " == *" $platform "* ]] || die "platform '$platform' must be one of $PLATFORMS"
  done
  mkdir -p "$2"
  folder=$(readlink -f "$2")
  [[ -z $(ls -A "$folder") ]] || die "$folder must be empty"
  : "${url:=https://github.com/rules-qcow2/rules_qcow2/releases/download/v$version}"

  # The repository that this script is in.
  cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
  commit=$(git rev-parse --verify "$commit^{commit}")

  # Programs are built from the committed files, in a scratch folder.
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  git archive "$commit" | tar -x -C "$scratch"

  build "$version" "$folder" "$platforms"
  lock "$version" "$folder" "$url" >"$scratch/$LOCK"
  archive "$version" "$folder" "$commit"
  (cd "$folder" && sha256sum -- * >"$scratch/SHA256SUMS")
  mv "$scratch/SHA256SUMS" "$folder"
  notes "$version" "$folder" >"$folder/notes.md"
}

# Prints the name of a program's file: `qcow2gen-1.2.0-windows_amd64.exe`.
file_name() {
  local program=$1 version=$2 platform=$3
  echo "$program-$version-$platform$([[ $platform != windows_* ]] || echo .exe)"
}

# vm and vmboot do not compile for Windows, and qcow2check is in the same toolchain. The
# agent runs in Linux guests only.
exists_for() {
  case $1:$2 in
    qcow2check:windows_* | vm:windows_* | vmboot:windows_* | agent:darwin_* | agent:windows_*) return 1 ;;
  esac
}

# source_of PROGRAM prints the folder or the file of its main package.
source_of() {
  case $1 in
    agent) echo ./guest/agentd ;;
    # All files of the package, or without compressors.go, as the targets of Bazel.
    qcow2convert) echo ./tools/qcow2gen ;;
    qcow2gen) echo ./tools/qcow2gen/main.go ;;
    *) echo "./tools/$1" ;;
  esac
}

build() {
  local version=$1 folder=$2 platforms=$3 program platform
  # Settings that change the bytes are set here, not inherited.
  export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off GOTOOLCHAIN=${GOTOOLCHAIN:-$GO_VERSION}
  export GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT="" GODEBUG="" GOFIPS140=off
  for platform in $platforms; do
    for program in $PROGRAMS; do
      exists_for "$program" "$platform" || continue
      (cd "$scratch" && GOOS=${platform%_*} GOARCH=${platform#*_} "${GO:-go}" build \
        -trimpath -buildvcs=false -ldflags='-s -w -buildid=' \
        -o "$folder/$(file_name "$program" "$version" "$platform")" "$(source_of "$program")")
    done
  done
}

# Prints the lock file of the programs in the folder.
lock() {
  local version=$1 folder=$2 url=$3 program platform file comma_program="" comma_platform
  echo "{"
  for program in $PROGRAMS; do
    printf '%s  "%s": {\n' "$comma_program" "$program"
    comma_platform=""
    for platform in $PLATFORMS; do
      file=$(file_name "$program" "$version" "$platform")
      [[ -e $folder/$file ]] || continue
      printf '%s    "%s": {\n      "sha256": "%s",\n      "urls": ["%s"]\n    }' \
        "$comma_platform" "$platform" "$(sha256 "$folder/$file")" "$url/$file"
      comma_platform=$',\n'
    done
    printf '\n  }'
    comma_program=$',\n'
  done
  printf '\n}\n'
}

sha256() { sha256sum <"$1" | cut -d ' ' -f 1; }

# .gitattributes lists the files that the archive leaves out. The targets that need
# them are removed from BUILD files, because gazelle writes them next to others.
archive() {
  local version=$1 folder=$2 commit=$3 prefix=rules_qcow2-$1 file
  local -a buildozer=("${GO:-go}" -C tools/lint tool buildozer -quiet -root_dir "$scratch") paths=(.) edited=()
  "${buildozer[@]}" "set version $version" //MODULE.bazel:%module
  "${buildozer[@]}" delete '//...:%go_test' //:gazelle
  "${buildozer[@]}" 'fix unusedLoads' '//...:__pkg__'

  while read -r file; do
    paths+=(":(exclude)$file")
    edited+=(--add-virtual-file="$prefix/$file:$(cat "$scratch/$file")"$'\n')
  done < <(cd "$scratch" && find -- * -name '*.bazel' -o -path "$LOCK" | LC_ALL=C sort)
  git -c tar.umask=0022 archive --format=tar --prefix="$prefix/" "${edited[@]}" "$commit" -- "${paths[@]}" |
    gzip -n -9 >"$folder/rules_qcow2-v$version.tar.gz"
}

notes() {
  local version=$1 archive=$2/rules_qcow2-v$1.tar.gz
  cat <<END
\`\`\`starlark
bazel_dep(name = "rules_qcow2", version = "$version")
\`\`\`

Without the Bazel Central Registry, add

\`\`\`starlark
archive_override(
    module_name = "rules_qcow2",
    integrity = "sha256-$(openssl dgst -sha256 -binary "$archive" | base64)",
    strip_prefix = "rules_qcow2-$version",
    urls = ["https://github.com/rules-qcow2/rules_qcow2/releases/download/v$version/rules_qcow2-v$version.tar.gz"],
)
\`\`\`

Programs are built with $(cd "$scratch" && "${GO:-go}" env GOVERSION).
END
}

main "$@"
