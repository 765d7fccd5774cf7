package measure

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// Machine describes the machine and the programs of a measurement, without names
// of hosts or users.
type Machine struct {
	CPU        string   `json:"cpu"`
	Cores      int      `json:"cores"`
	MemoryGiB  int      `json:"memory-gib"`
	Kernel     string   `json:"kernel"`
	FileSystem string   `json:"file-system"` // of the scratch folder
	Versions   []string `json:"versions"`
	Load       string   `json:"load"` // 1-minute load average before the start
}

// Describe describes this machine.
func Describe(env *Env) Machine {
	m := Machine{
		CPU:        field("/proc/cpuinfo", "model name"),
		Cores:      runtime.NumCPU(),
		FileSystem: fileSystem(env.Dir),
	}
	var kib int
	fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kib)
	m.MemoryGiB = (kib + 1<<19) >> 20
	// Only the numbers of the kernel's version: the rest may name the machine.
	release := firstWord("/proc/sys/kernel/osrelease")
	m.Kernel, _, _ = strings.Cut(release, "-")
	m.Load = firstWord("/proc/loadavg")
	if out, err := exec.Command(env.QemuImg, "--version").Output(); err == nil {
		if words := strings.Fields(string(out)); len(words) > 2 {
			m.Versions = append(m.Versions, "QEMU "+words[2])
		}
	}
	m.Versions = append(m.Versions, "Go "+strings.TrimPrefix(runtime.Version(), "go"))
	return m
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %d GiB of memory, Linux %s, %s; %s; load average before: %s",
		m.CPU, m.Cores, m.MemoryGiB, m.Kernel, m.FileSystem, strings.Join(m.Versions, ", "), m.Load)
}

// field returns the value after the first "name:" of a file.
func field(path, name string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstWord(path string) string {
	text, _ := os.ReadFile(path)
	word, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	return word
}

// fileSystem returns the name of a file system by its number in statfs(2), for
// those that tests are likely to run on.
func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "unknown file system"
	}
	names := map[int64]string{
		0xEF53: "ext4", 0x58465342: "XFS", 0x9123683E: "Btrfs", 0x01021994: "tmpfs",
		0x794C7630: "overlayfs", 0x2FC12FC1: "ZFS", 0xCA451A4E: "bcachefs",
	}
	if name, ok := names[int64(s.Type)]; ok {
		return name
	}
	return fmt.Sprintf("file system 0x%X", s.Type)
}
