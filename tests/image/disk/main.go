// Command disk writes a release of a raw disk for the tests of qcow2_image:
//
//	disk RELEASE FILE
//
// Its clusters of 64 KiB are text, noise or zeros. Each release after the first
// changes three of them: text, data that becomes zeros, and zeros that become data.
// The length is not a multiple of 512.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
)

const (
	clusterSize = 64 << 10
	clusters    = 48
	tail        = 700 // bytes of a last, shorter cluster
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: disk RELEASE FILE")
		os.Exit(2)
	}
	release, err := strconv.Atoi(os.Args[1])
	if err == nil {
		err = os.WriteFile(os.Args[2], disk(release), 0o666)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "disk:", err)
		os.Exit(1)
	}
}

func disk(release int) []byte {
	b := make([]byte, clusters*clusterSize+tail)
	cluster := func(i int) []byte { return b[i*clusterSize : (i+1)*clusterSize] }
	for i := range clusters {
		switch i % 3 {
		case 0:
			text(cluster(i), 1)
		case 1:
			noise(cluster(i), i)
		}
	}
	text(b[clusters*clusterSize:], 1)
	for r := 2; r <= release; r++ {
		text(cluster(3*r), r)
		clear(cluster(3*r + 13))
		noise(cluster(3*r + 26)[:clusterSize/2], r)
	}
	return b
}

func text(b []byte, release int) {
	line := fmt.Sprintf("a line of release %d\n", release)
	copy(b, bytes.Repeat([]byte(line), len(b)/len(line)+1))
}

// noise fills b with bytes that do not compress.
func noise(b []byte, seed int) {
	r := rand.New(rand.NewPCG(1, uint64(seed)))
	for ; len(b) > 0; b = b[8:] {
		binary.LittleEndian.PutUint64(b, r.Uint64())
	}
}
