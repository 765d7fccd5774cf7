package network_test

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

// The names of the network and of the machine decide about the addresses.
func Example() {
	n, err := network.New()
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	port, err := n.Attach("web")
	if err != nil {
		log.Fatal(err)
	}
	qemu := exec.Command("qemu-system-x86_64",
		// Disks, memory and so on, and:
		"-netdev", "dgram,id=net0,local.type=fd,local.str=3",
		"-device", "virtio-net-pci,netdev=net0,mac="+port.MAC().String())
	qemu.ExtraFiles = []*os.File{port.File()} // the first of them is descriptor 3
	fmt.Println(port.Name(), port.MAC(), port.Prefix())
	// Output: web 1a:e7:2a:fb:9d:8e 10.77.0.2/24
}

// A bad line from here on: a tenth of the frames is lost, and the others take
// 45 to 55 ms in each direction.
func ExamplePort_SetFaults() {
	n, err := network.New()
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	port, err := n.Attach("client")
	if err != nil {
		log.Fatal(err)
	}
	err = port.SetFaults(network.Faults{
		Loss:   0.1,
		Delay:  50 * time.Millisecond,
		Jitter: 5 * time.Millisecond,
		Seed:   1,
	})
	if err != nil {
		log.Fatal(err)
	}
	// The test's work, and then a line without faults:
	if err := port.SetFaults(network.Faults{}); err != nil {
		log.Fatal(err)
	}
}
