package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// create creates the image, its external data file and its description.
func (c *createArgs) create() error {
	inputs, err := c.completeFromBackingFile()
	if err != nil {
		return err
	}
	if !c.sizeSet {
		return errors.New("size is missing; give a size or a backing file that can be opened")
	}
	c.values["size"] = formatValue{number: c.size}
	opts, err := c.values.generateOptions()
	if err != nil {
		return err
	}
	if err := c.checkDataFile(); err != nil {
		return err
	}
	if err := c.checkOverwrite(inputs); err != nil {
		return err
	}

	out := &outputs{}
	defer out.discard()
	f, err := out.create(c.path)
	if err != nil {
		return err
	}
	if err := qcow2.Generate(f, opts...); err != nil {
		return err
	}
	if c.values.has("data_file") {
		if err := c.writeDataFile(out); err != nil {
			return fmt.Errorf("data file %s: %s", c.dataFile(), reason(err))
		}
	}
	if c.infoOutput != "" {
		if err := c.writeInfo(out, qcow2.FormatQCOW2); err != nil {
			return fmt.Errorf("--info-output %s: %s", c.infoOutput, reason(err))
		}
	}
	return out.commit()
}

// checkOverwrite refuses to replace an input file, such as a layer of the
// image's own backing chain.
func (c *createArgs) checkOverwrite(inputs []string) error {
	written := []string{c.path}
	if c.values.has("data_file") {
		written = append(written, c.dataFile())
	}
	if c.infoOutput != "" {
		written = append(written, c.infoOutput)
	}
	for i, path := range written {
		if slices.ContainsFunc(inputs, func(input string) bool { return sameFile(path, input) }) {
			return fmt.Errorf("%s would be overwritten, but it is in the image's own backing chain or describes it; use another name", path)
		}
		if slices.ContainsFunc(written[:i], func(other string) bool { return sameFile(path, other) }) {
			return fmt.Errorf("%s is the name of two output files; give each its own name", path)
		}
	}
	return nil
}

// sameFile reports whether two paths lead to the same file. The file need not
// exist.
func sameFile(a, b string) bool {
	a, errA := followLinks(a)
	b, errB := followLinks(b)
	if errA != nil || errB != nil {
		return false // neither can be opened
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	if errA == nil || errB == nil {
		return errA == nil && errB == nil && os.SameFile(infoA, infoB)
	}
	dirA, errA := os.Stat(directory(a) + ".")
	dirB, errB := os.Stat(directory(b) + ".")
	return errA == nil && errB == nil && os.SameFile(dirA, dirB) && filepath.Base(a) == filepath.Base(b)
}

// writeInfo writes the description that --backing-info reads. It does not contain
// a path, so it is the same on every machine.
func (c *createArgs) writeInfo(out *outputs, format string) error {
	f, err := out.create(c.infoOutput)
	if err != nil {
		return err
	}
	clusterSize := ""
	if format == qcow2.FormatQCOW2 {
		clusterSize = fmt.Sprintf(",\"cluster-size\":%d", c.clusterSize())
	}
	_, err = fmt.Fprintf(f, "{\"virtual-size\":%d,\"format\":%q%s}\n", roundUp(c.size, sectorSize), format, clusterSize)
	return err
}
