package main

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// hostVariables describe the host, and do not hold in the guest, unless a BUILD file
// sets them.
var hostVariables = []string{
	"HOME", "LOGNAME", "OLDPWD", "PATH", "PWD", "RUNFILES_MANIFEST_FILE", "RUNFILES_MANIFEST_ONLY", "SHLVL", "TMPDIR", "USER", "_",
}

// workingDirectory returns the folder in the guest that is the test's on the host.
func (t *inGuestTest) workingDirectory() string {
	dir, err := os.Getwd()
	if err == nil {
		if inside, err := filepath.Rel(t.runfiles, dir); err == nil && filepath.IsLocal(inside) {
			return path.Join(guestRunfiles, inside)
		}
	}
	workspace, _, _ := strings.Cut(t.Program, "/")
	return path.Join(guestRunfiles, workspace)
}

// environment returns the test's variables.
func (t *inGuestTest) environment() []string {
	env := []string{"PWD=" + t.workingDirectory()}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if slices.Contains(hostVariables, name) && !slices.Contains(t.Env, name) {
			continue
		}
		env = append(env, name+"="+t.translate(value))
	}
	workspace, program, _ := strings.Cut(t.Program, "/")
	if workspace == os.Getenv("TEST_WORKSPACE") && t.Manifest != "" {
		env = append(env, "TEST_BINARY="+program) // not the runner
	}
	// The last value of a variable counts. Paths with links may have no translation.
	env = append(env, "RUNFILES_DIR="+guestRunfiles, "TEST_SRCDIR="+guestRunfiles, "TEST_TMPDIR="+guestTmp)
	for _, output := range testOutputs {
		if os.Getenv(output.variable) != "" {
			env = append(env, output.variable+"="+path.Join(guestOutputs, output.name))
		}
	}
	return env
}

// translate replaces paths of the host by those in the guest.
func (t *inGuestTest) translate(s string) string {
	if t.paths == nil {
		t.paths = t.replacer()
	}
	return t.paths.Replace(s)
}

// replacer knows the longest path first: others may be its beginning.
func (t *inGuestTest) replacer() *strings.Replacer {
	type pair struct{ host, guest string }
	pairs := []pair{{t.runfiles, guestRunfiles}, {os.Getenv("TEST_TMPDIR"), guestTmp}}
	for _, output := range testOutputs {
		pairs = append(pairs, pair{os.Getenv(output.variable), path.Join(guestOutputs, output.name)})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return len(b.host) - len(a.host) })
	var words []string
	for _, p := range pairs {
		if p.host != "" {
			words = append(words, p.host, p.guest)
		}
	}
	return strings.NewReplacer(words...)
}

func (t *inGuestTest) translateAll(args []string) []string {
	translated := make([]string, len(args))
	for i, arg := range args {
		translated[i] = t.translate(arg)
	}
	return translated
}
