package qcow2

import (
	"errors"
	"os"
)

// temporary until lib lands
func CreateLayer(path, backing, backingFormat string) error {
	chain, err := InspectChain(backing, backingFormat)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(Generate(f, GenerateWithBackingFile(backing), GenerateWithBackingFormat(chain[0].Format), GenerateWithFileSize(chain[0].VirtualSize), GenerateWithClusterSize(128<<10), GenerateWithExtendedL2(true)), f.Close())
}
