# shellcheck shell=bash
# shellcheck disable=SC2034 # ENTER_OPTIONS is for enter.sh
# Makes a Bazel module registry of what the private root and the Go module
# proxy hold, to stand in for the Central Registry, and a bazelrc that names it.

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
      *) echo "modules.txt: module $name has origin '$origin', allowed are root:, go:, ours and empty" && return 1 ;;
    esac
  done < <(sed -e 's/#.*//' -e '/^ *$/d' "$BOOTSTRAP/modules.txt")

  write_bazelrc "$final" >"$REGISTRY_STAGE/bazelrc"
  mv "$REGISTRY_STAGE" "$final"
  # A registry of an older version of these scripts stays for the checkouts
  # that still use it; an unfinished one is of no use to anybody.
}

# add_module NAME PATH SOURCE VERSIONS publishes one directory, which is PATH
# for Bazel and SOURCE for us now, under every version.
add_module() {
  local name=$1 path=$2 source=$3 version folder
  for version in $4; do
    folder=$REGISTRY_STAGE/modules/$name/$version
    mkdir -p "$folder"
    printf '{"type": "local_path", "path": "%s"}\n' "$path" >"$folder/source.json"
    # Bazel insists that the file names the version it is filed under.
    awk -v version="$version" '
      /^module\(/ { print; inside = !/\)/; if (inside) printf "    version = \"%s\",\n", version; next }
      /^\)/ { inside = 0 }
      inside && /^ *version *=/ { next }
      { print }' "$source/MODULE.bazel" >"$folder/MODULE.bazel"
  done
}

# A module of our own: its files under standins/, if it has any. They lie there
# without MODULE.bazel, or they would be a workspace of this project, and without
# BUILD files that would be empty.
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
    echo "cannot fetch $module from the Go module proxy (GOPROXY=$(go_in_root env GOPROXY)); is the network up?"
    return 1
  }
  local got dir
  got=$(json_string Sum <<<"$answer")
  dir=$(json_string Dir <<<"$answer")
  [[ $got == "$sum" ]] || {
    echo "$module has checksum $got, expected is $sum"
    return 1
  }
  cp -r "$dir" "$folder"
  chmod -R u+w "$folder"
  # A module zip keeps no permissions, no nested modules and no vendor/.
  find "$folder" -name '*.sh' -exec chmod +x {} +
  if [[ $name == gazelle ]]; then
    rm -rf "$folder/tests"
    # gazelle's repository tools are built from vendor/ alone.
    (cd "$folder" && go_in_root mod vendor -e)
  elif [[ $name == rules_go ]]; then
    use_host_go "$folder"
  fi
}

# The Go that rules_go gives to those who choose none is one that it downloads.
# Here it is the root's, so that nobody's MODULE.bazel has to ask for that.
use_host_go() {
  local module=$1/MODULE.bazel extension=$1/go/private/extensions.bzl
  sed -i '/^go_sdk\.from_file(/,/^)/ { s/from_file/host/; /go_mod =/d }' "$module"
  # shellcheck disable=SC2016 # not for the shell
  sed -i '/for index, host_tag in/,/fail(/ s/if not module\.is_root:/if not module.is_root and module.name != "rules_go":/' "$extension"
  if ! grep --quiet '^go_sdk\.host($' "$module" || ! grep --quiet 'module\.name != "rules_go":$' "$extension"; then
    echo "rules_go is not laid out as expected, use_host_go in registry.sh needs an update"
    return 1
  fi
}

json_string() { sed -n "s/^[[:space:]]*\"$1\": \"\(.*\)\",\{0,1\}\$/\1/p"; }

# Runs the root's Go with the machine's settings, which are the environment's
# and those in the user's go/env file. All that it writes goes to the cache
# folder, its telemetry below XDG_CONFIG_HOME included.
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
# The Java that Debian has warns at each start of what this Bazel has always done.
startup --host_jvm_args=-XX:-PrintWarnings
startup --host_jvm_args=--enable-native-access=ALL-UNNAMED
startup --host_jvm_args=--sun-misc-unsafe-memory-access=allow
common --registry=file://$1
# A lock file would hold this registry's address.
common --lockfile_mode=off
common --noenable_workspace
# The nested workspaces share what was built in one of them, the Go standard
# library above all. Every output is still put where it belongs.
common --disk_cache=$CACHE/disk --experimental_disk_cache_gc_max_size=8G
common --remote_download_outputs=all
# And so with what gazelle fetches and compiles when it makes repositories.
common --repo_env=GO_REPOSITORY_USE_HOST_CACHE=1 --repo_env=GOPATH=$CACHE/go
common --repo_env=GOMODCACHE=$CACHE/go/mod --repo_env=GOCACHE=$CACHE/go/cache
EOF
}
