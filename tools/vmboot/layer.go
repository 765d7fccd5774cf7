package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/internal/bounded"
)

// A layerSpec is the JSON file of the rule qcow2_layer for its build action.
type layerSpec struct {
	buildSpec
	Layer    buildLayer  `json:"layer"`    // on the machine's first disk
	Metadata string      `json:"metadata"` // path of the output for Qcow2Info.metadata
	Log      string      `json:"log"`      // path of the output with the steps' outputs
	Files    []layerFile `json:"files"`
	Steps    []layerStep `json:"steps"`
	Seal     bool        `json:"seal"`
	MaxSize  uint64      `json:"max_size"` // in bytes; 0 for no limit
	// ExitStatus is QEMU's, for a machine without an agent.
	ExitStatus int `json:"exit_status"`
}

// A layerFile is a file or folder for the guest.
type layerFile struct {
	Path string `json:"path"` // on the host
	// To is the path in the guest, or, without an agent, the name on the FAT disk.
	To     string      `json:"to"`
	Mode   fs.FileMode `json:"mode"`   // of files; 0 to keep their own
	Owner  string      `json:"owner"`  // as chown takes it; "" for root
	Unpack bool        `json:"unpack"` // it is a tar archive, and To a folder
}

// A layerStep is one element of the attribute run.
type layerStep struct {
	Line   string `json:"line"`   // for the guest's shell; the label of a script
	Script string `json:"script"` // path of the script on the host; "" for a line
}

// sealScript removes identities, logs and caches from the guest.
//
//go:embed seal.sh
var sealScript []byte

// writeLayer is the build action of a qcow2_layer: it boots the machine, lets it write,
// and keeps the writes.
func writeLayer(path string) (target string, err error) {
	spec := &layerSpec{}
	if target, err = readSpec(path, spec, &spec.buildSpec); err != nil {
		return target, err
	}
	if err := spec.write(); err != nil {
		removeOutputs(spec.Layer.Path, spec.Metadata, spec.Log, spec.Console)
		return target, err
	}
	return target, nil
}

// maxStepLog bounds, in bytes, the log of a layer.
const maxStepLog = 64 << 20

func (spec *layerSpec) write() (err error) {
	file, err := os.Create(spec.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	log := &bounded.Log{W: file, Limit: maxStepLog}
	use := spec.provision
	if c := &spec.Machine; c.Agent == machine.AgentNone {
		use = spec.watch
		for _, file := range spec.Files {
			// The FAT disk is a folder of links elsewhere.
			path, err := filepath.Abs(file.Path)
			if err != nil {
				return err
			}
			c.Files = append(c.Files, machine.File{Path: path, Name: file.To})
		}
	}
	return spec.run(vm.Options{}, func(ctx context.Context, m *vm.Machine) error {
		if err := errors.Join(use(ctx, m, log), log.Err()); err != nil {
			return err
		}
		return spec.keep(ctx, m.Layers()[0])
	})
}

// watch waits until a guest without an agent has done everything.
func (spec *layerSpec) watch(ctx context.Context, m *vm.Machine, _ io.Writer) error {
	return watch(ctx, &config{Expect: spec.Machine.Ready.Expect, ExitStatus: &spec.ExitStatus}, nil, m, 0)
}

// provision copies the files to the guest, runs the steps there, and powers it off.
func (spec *layerSpec) provision(ctx context.Context, m *vm.Machine, log io.Writer) error {
	if err := m.WaitReady(ctx); err != nil {
		return fmt.Errorf("the machine did not get ready: %w", err)
	}
	client, err := m.Agent(ctx)
	if err != nil {
		return err
	}
	for _, file := range spec.Files {
		fmt.Fprintf(log, "# %s\n", file.To)
		if err := file.send(ctx, m, client); err != nil {
			return fmt.Errorf("files: %s: %w", file.To, err)
		}
	}
	for i, step := range spec.Steps {
		fmt.Fprintf(log, "# %s\n", step.Line)
		if err := step.run(ctx, m, client, log); err != nil {
			return fmt.Errorf("step %d of %d, %q, failed: %w", i+1, len(spec.Steps), step.Line, err)
		}
	}
	if spec.Seal {
		fmt.Fprintln(log, "# seal")
		if err := inGuest(ctx, m, vm.Command{Args: []string{"/bin/sh", "-s"}, Stdin: bytes.NewReader(sealScript)}, log); err != nil {
			return fmt.Errorf("seal: %w; the guest needs /bin/sh for it, or set seal = False", err)
		}
	}
	return m.PowerOff(ctx)
}

// send copies the file to the guest.
func (f layerFile) send(ctx context.Context, m *vm.Machine, client *agent.Client) error {
	if f.Unpack {
		return f.unpack(ctx, m)
	}
	// Bazel's inputs are links, also within folders.
	if err := client.CopyTo(ctx, f.Path, f.To, agent.CopyOptions{FollowLinks: true, FileMode: f.Mode}); err != nil {
		return err
	}
	if f.Owner == "" {
		return nil
	}
	return inGuest(ctx, m, vm.Command{Args: []string{"chown", "-R", f.Owner, f.To}}, io.Discard)
}

// tarOptions are those of tar for the archives that it must decompress.
var tarOptions = map[string]string{
	".bz2": "-j", ".gz": "-z", ".tgz": "-z", ".txz": "-J", ".xz": "-J", ".zst": "--zstd",
}

// unpack unpacks a tar archive with the guest's tar.
func (f layerFile) unpack(ctx context.Context, m *vm.Machine) error {
	archive, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := inGuest(ctx, m, vm.Command{Args: []string{"mkdir", "-p", f.To}}, io.Discard); err != nil {
		return err
	}
	args := []string{"tar", "-x", "-p", "-C", f.To, "-f", "-"}
	if option := tarOptions[filepath.Ext(f.Path)]; option != "" {
		args = append(args, option)
	}
	return inGuest(ctx, m, vm.Command{Args: args, Stdin: archive}, io.Discard)
}

// stepPath is where scripts are in the guest: not on a disk.
const stepPath = "/dev/shm/rules_qcow2/step"

func (s layerStep) run(ctx context.Context, m *vm.Machine, client *agent.Client, log io.Writer) error {
	if s.Script == "" {
		return inGuest(ctx, m, vm.Command{Args: []string{"/bin/sh", "-ec", s.Line}, Dir: "/"}, log)
	}
	if err := client.CopyTo(ctx, s.Script, stepPath, agent.CopyOptions{FileMode: 0o700}); err != nil {
		return err
	}
	return inGuest(ctx, m, vm.Command{Args: []string{stepPath}, Dir: "/"}, log)
}

// inGuest runs a command in the guest, which must succeed.
func inGuest(ctx context.Context, m *vm.Machine, cmd vm.Command, log io.Writer) error {
	var stdout, stderr vm.Tail
	cmd.Stdout, cmd.Stderr = io.MultiWriter(log, &stdout), io.MultiWriter(log, &stderr)
	result, err := m.Exec(ctx, cmd)
	switch {
	case err != nil:
		return fmt.Errorf("%w%s", err, vm.Outputs(&stdout, &stderr))
	case !result.Success():
		return fmt.Errorf("%v%s", result, vm.Outputs(&stdout, &stderr))
	}
	return nil
}

// keep writes the image of the target, with the allocated clusters of the guest's
// layer: the layer itself is full of holes, which caches do not keep.
func (spec *layerSpec) keep(ctx context.Context, layer string) error {
	disk := spec.Machine.Disks[0]
	chain, err := qcow2.InspectChain(layer, "qcow2")
	if err != nil {
		return fmt.Errorf("the guest's layer: %w", err)
	}
	options := fmt.Sprintf("cluster_size=%d", qcow2.LayerClusterSize)
	if qcow2.LayerExtendedL2 {
		options += ",extended_l2=on"
	}
	if err := qemuImg(ctx, spec.Machine.QEMUImg, "convert", "-q", "-f", "qcow2", "-O", "qcow2", "-o", options,
		"-B", spec.Layer.Backing, "-F", chain[1].Format, layer, spec.Layer.Path); err != nil {
		return fmt.Errorf("the layer on %s: %w", disk.Path, err)
	}
	info, err := os.Stat(spec.Layer.Path)
	if err != nil {
		return err
	}
	size := uint64(info.Size())
	if spec.MaxSize > 0 && size > spec.MaxSize {
		return fmt.Errorf("the layer has %s, and max_size is %s; let the guest write less, or set a larger max_size", mib(size), mib(spec.MaxSize))
	}
	fmt.Printf("%s: the layer has %s\n", spec.Machine.Target, mib(size))
	metadata := fmt.Sprintf("{\"virtual-size\":%d,\"format\":\"qcow2\",\"cluster-size\":%d}\n", chain[0].VirtualSize, qcow2.LayerClusterSize)
	return os.WriteFile(spec.Metadata, []byte(metadata), 0o666)
}

func mib(size uint64) string {
	return strconv.FormatFloat(float64(size)/(1<<20), 'f', 1, 64) + " MiB"
}

func qemuImg(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("qemu-img: %w: %s", err, strings.TrimSpace(output.String()))
	}
	return nil
}
