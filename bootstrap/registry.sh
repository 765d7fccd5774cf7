# shellcheck shell=bash
# shellcheck disable=SC2034 # ENTER_OPTIONS is for enter.sh
# Makes a Bazel module registry that replaces the Central Registry, from the files
# of the private root and of the Go module proxy, and a bazelrc that names it.

make_registry() {
  local final=$CACHE/$REGISTRY
  REGISTRY_STAGE=$final.partial
  rm -rf "$REGISTRY_STAGE" "$final"
  mkdir -p "$REGISTRY_STAGE"/{modules,source}

  local name origin versions
  while read -r name origin versions; do
    case $origin in
      root:*) add_module "$name" "/usr/share/bazel/${origin#root:}" "$ROOT/usr/share/bazel/${origin#root:}" "$versions" ;;
      go:*)
        fetch_go_module "$name" "${origin#go:}"
        add_module "$name" "$final/source/$name" "$REGISTRY_STAGE/source/$name" "$versions"
        ;;
      ours | empty)
        make_standin "$name"
        add_module "$name" "$final/source/$name" "$REGISTRY_STAGE/source/$name" "$versions"
        ;;
      *) echo "modules.txt: module $name has the origin '$origin'; use root:, go:, ours or empty" && return 1 ;;
    esac
  done < <(sed -e 's/#.*//' -e '/^ *$/d' "$BOOTSTRAP/modules.txt")

  write_bazelrc "$final" >"$REGISTRY_STAGE/bazelrc"
  mv "$REGISTRY_STAGE" "$final"
  # Registries of older versions of these scripts stay: other checkouts may use
  # them.
}

# add_module NAME PATH SOURCE VERSIONS publishes one directory under every version.
# Bazel finds it at PATH; it is at SOURCE now.
add_module() {
  local name=$1 path=$2 source=$3 version folder
  for version in $4; do
    folder=$REGISTRY_STAGE/modules/$name/$version
    mkdir -p "$folder"
    printf '{"type": "local_path", "path": "%s"}\n' "$path" >"$folder/source.json"
    # Bazel requires that the file names the version.
    awk -v version="$version" '
      /^module\(/ { print; inside = !/\)/; if (inside) printf "    version = \"%s\",\n", version; next }
      /^\)/ { inside = 0 }
      inside && /^ *version *=/ { next }
      { print }' "$source/MODULE.bazel" >"$folder/MODULE.bazel"
  done
}

# Makes a module from the files in standins/, if there are any. A MODULE.bazel there
# would make the folder a workspace of this project, so it is written here, like empty
# BUILD files.
make_standin() {
  local name=$1 folder=$REGISTRY_STAGE/source/$1
  mkdir -p "$folder"
  [[ ! -d $BOOTSTRAP/standins/$name ]] || cp -r "$BOOTSTRAP/standins/$name/." "$folder"
  find "$folder" -type d -exec touch {}/BUILD.bazel \;
  printf 'module(\n    name = "%s",\n)\n' "$name" >"$folder/MODULE.bazel"
}

# fetch_go_module NAME MODULE@VERSION:CHECKSUM
fetch_go_module() {
  local name=$1 module=${2%%:*} sum=${2#*:} folder=$REGISTRY_STAGE/source/$1
  local answer
  answer=$(go_in_root mod download -json "$module") || {
    printf '%s\n' "$answer"
    echo "cannot fetch $module from the Go module proxy (GOPROXY=$(go_in_root env GOPROXY)); check the network"
    return 1
  }
  local got dir
  got=$(json_string Sum <<<"$answer")
  dir=$(json_string Dir <<<"$answer")
  [[ $got == "$sum" ]] || {
    echo "$module has the checksum $got, want $sum"
    return 1
  }
  cp -r "$dir" "$folder"
  chmod -R u+w "$folder"
  # A module zip does not contain permissions, nested modules or vendor/.
  find "$folder" -name '*.sh' -exec chmod +x {} +
  if [[ $name == gazelle ]]; then
    rm -rf "$folder/tests"
    # gazelle's repository tools are built from vendor/.
    (cd "$folder" && go_in_root mod vendor -e)
    trim_paths "$folder"
  elif [[ $name == rules_go ]]; then
    use_host_go "$folder"
  fi
}

# gazelle compiles its repository tools, and Go's standard library, with the path of the
# output base in the flags, so Go's cache has no entry for a new output base.
trim_paths() {
  local tools=$1/internal/go_repository_tools.bzl
  sed -i 's/^ *"-gcflags",$/"-trimpath",/; /^ *"-asmflags",$/d; /"all=-trimpath=" + env/d' "$tools"
  if ! grep --quiet '^"-trimpath",$' "$tools" || grep --quiet 'asmflags\|all=' "$tools"; then
    echo "the files of gazelle changed; update trim_paths in registry.sh"
    return 1
  fi
}

# By default, rules_go downloads Go. Here its default is the Go of the root, so a
# MODULE.bazel need not choose it.
use_host_go() {
  local module=$1/MODULE.bazel extension=$1/go/private/extensions.bzl
  sed -i '/^go_sdk\.from_file(/,/^)/ { s/from_file/host/; /go_mod =/d }' "$module"
  # shellcheck disable=SC2016 # not for the shell
  sed -i '/for index, host_tag in/,/fail(/ s/if not module\.is_root:/if not module.is_root and module.name != "rules_go":/' "$extension"
  if ! grep --quiet '^go_sdk\.host($' "$module" || ! grep --quiet 'module\.name != "rules_go":$' "$extension"; then
    echo "the files of rules_go changed; update use_host_go in registry.sh"
    return 1
  fi
}

json_string() { sed -n "s/^[[:space:]]*\"$1\": \"\(.*\)\",\{0,1\}\$/\1/p"; }

# Runs the root's Go with the machine's settings, from the environment and the user's
# go/env file. It writes only to the cache folder: XDG_CONFIG_HOME is for its
# telemetry.
go_in_root() {
  (
    exec 9>&-
    ENTER_OPTIONS=(--die-with-parent)
    export GOENV=${GOENV:-${XDG_CONFIG_HOME:-$(home)/.config}/go/env} XDG_CONFIG_HOME=$CACHE/go/config
    export GOPATH=$CACHE/go GOMODCACHE=$CACHE/go/mod GOCACHE=$CACHE/go/cache
    export GOFLAGS=-modcacherw GOWORK=off
    enter go "$@"
  )
}

write_bazelrc() {
  cat <<EOF
# Written by bazelw.
startup --install_base=/usr/share/bazel --trust_install_base
startup --output_user_root=$CACHE/bazel
# Without these, Debian's Java prints warnings at each start of Bazel.
startup --host_jvm_args=-XX:-PrintWarnings
startup --host_jvm_args=--enable-native-access=ALL-UNNAMED
startup --host_jvm_args=--sun-misc-unsafe-memory-access=allow
common --registry=file://$1
# A lock file would hold this registry's address.
common --lockfile_mode=off
common --noenable_workspace
# The nested workspaces share outputs, mainly the Go standard library. Outputs
# from the cache are still written to bazel-bin. All workspaces together have more than
# 8 GB of outputs; a cache that is too small for them runs all tests again each time.
common --disk_cache=$CACHE/disk --experimental_disk_cache_gc_max_size=16G
common --remote_download_outputs=all
# The Go standard library is compiled once for configurations that differ only in the names
# of their output folders, such as those of tools and of targets. In Bazel 7.7, such actions
# do not use persistent workers, which tests of the generator need.
common --experimental_output_paths=strip --modify_execution_info=Qcow2.*=-supports-path-mapping
# Repositories share the Go modules that gazelle fetches and compiles.
common --repo_env=GO_REPOSITORY_USE_HOST_CACHE=1 --repo_env=GOPATH=$CACHE/go
common --repo_env=GOMODCACHE=$CACHE/go/mod --repo_env=GOCACHE=$CACHE/go/cache
EOF
}
