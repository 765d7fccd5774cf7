package scale

import (
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
)

// Each overlay is on a base or on an earlier overlay, for every rule alike.
func TestTargets(t *testing.T) {
	w := &workspace{Env: &measure.Env{}, qemuImg: "/usr/bin/qemu-img"}
	for rule, want := range map[string]struct{ base, chained string }{
		"qcow2_overlay": {
			`qcow2_overlay(name = "t16", backing = "//:base1.img", backing_format = "raw", size = "20G")`,
			`qcow2_overlay(name = "t17", backing = ":t16")`,
		},
		"genrule": {
			`genrule(name = "t16", srcs = ["//:base1.img"], outs = ["t16.qcow2"], cmd = "/usr/bin/qemu-img create -q -u -f qcow2 -F raw -b $$(basename $<) $@ 20G")`,
			`genrule(name = "t17", srcs = ["t16.qcow2"], outs = ["t17.qcow2"], cmd = "/usr/bin/qemu-img create -q -u -f qcow2 -F qcow2 -b $$(basename $<) $@ 20G")`,
		},
		"touch": {`touch(name = "t16", backing = "//:base1.img")`, `touch(name = "t17", backing = ":t16")`},
		"empty": {`empty(name = "t16", backing = "//:base1.img")`, `empty(name = "t17", backing = "//:base1.img")`},
	} {
		text := w.targets(20, rule)
		if n := strings.Count(text, rule+"(name = "); n != 20 {
			t.Errorf("%s: %d targets, want 20", rule, n)
		}
		for _, line := range []string{want.base, want.chained} {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("%s: there is no\n%s\nin\n%s", rule, line, text)
			}
		}
	}
}
