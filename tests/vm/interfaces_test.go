package vm_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
)

// TestInterfaces compares the interfaces that the rules accept with those of package
// plan. The targets *_test boot from a disk at each, with the longest serial number.
func TestInterfaces(t *testing.T) {
	try := func(name string) error {
		_, err := plan.Make(&machine.Config{Disks: []machine.Disk{{Interface: name}}}, &plan.Setup{Accelerator: "tcg", Layers: []string{"/layer"}})
		return err
	}
	rules := strings.Fields(os.Getenv("INTERFACES"))
	for _, name := range rules {
		if err := try(name); err != nil {
			t.Error(err)
		}
	}
	err := try("unknown")
	if err == nil {
		t.Fatal("an unknown interface is accepted")
	}
	_, list, _ := strings.Cut(err.Error(), "; use ")
	known := strings.Fields(strings.NewReplacer(",", "", " or ", " ").Replace(list))
	slices.Sort(rules)
	slices.Sort(known)
	if !slices.Equal(rules, known) {
		t.Errorf("the rules have the interfaces %q, package plan has %q", rules, known)
	}
}
