package agent

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// Info returns what the guest was when the session began.
func (c *Client) Info() Info { return c.info }

// QueryInfo asks what the guest is now: it may have left its initrd since.
func (c *Client) QueryInfo(ctx context.Context) (Info, error) {
	var m Info
	err := c.do(ctx, protocol.OpInfo, nil, &m)
	return m, err
}

// PowerOff makes the guest stop its services, unmount its file systems and power
// off. It returns when the guest begins with that.
func (c *Client) PowerOff(ctx context.Context) error {
	return c.do(ctx, protocol.OpPowerOff, nil, nil)
}

// Reboot makes the guest stop its services, unmount its file systems and reset the
// machine. It returns when the guest begins with that.
func (c *Client) Reboot(ctx context.Context) error {
	return c.do(ctx, protocol.OpReboot, nil, nil)
}

// Exists reports whether a file, folder, device or socket exists in the guest. It
// follows links. The path must be absolute.
func (c *Client) Exists(ctx context.Context, name string) (bool, error) {
	err := c.do(ctx, protocol.OpStat, &protocol.File{Path: name}, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Clock returns the guest's time.
func (c *Client) Clock(ctx context.Context) (time.Time, error) {
	return c.Configure(ctx, Configure{})
}

// Configure is what a host gives to a guest.
type Configure = protocol.Configure

// Link is the configuration of a network card in the guest.
type Link = protocol.Link

// Configure gives the guest random numbers, the time and addresses, and lets programs go on
// that Freeze has stopped, in this order and as far as m says. It returns the guest's time
// after that.
func (c *Client) Configure(ctx context.Context, m Configure) (time.Time, error) {
	var clock protocol.Clock
	err := c.do(ctx, protocol.OpConfigure, &m, &clock)
	return time.Unix(0, clock.Time), err
}

// Rested says whether a guest is at rest.
type Rested = protocol.Rested

// Rest waits until the guest is at rest: it has written its page cache to its disks, and its
// processors have almost nothing to do. After the limit, Rested says which programs ran.
func (c *Client) Rest(ctx context.Context, limit time.Duration) (Rested, error) {
	var m Rested
	err := c.do(ctx, protocol.OpRest, &protocol.Rest{Limit: int64(limit)}, &m)
	return m, err
}

// MountTmpfs mounts a tmpfs on a directory of the guest, which it makes if it does not exist.
// content is the number of bytes to be stored there: if that is more than half of the memory
// that the guest has available, the error is ENOMEM. The path must be absolute.
func (c *Client) MountTmpfs(ctx context.Context, name string, perm fs.FileMode, content int64) error {
	mode := uint32(perm.Perm())
	if perm&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return c.do(ctx, protocol.OpTmpfs, &protocol.Tmpfs{Path: name, Mode: mode, Content: content}, nil)
}

// Freeze stops all programs of the guest that are in cgroups of version 2, except
// process 1 and the agent, until a Configure with Thaw.
func (c *Client) Freeze(ctx context.Context) error {
	return c.do(ctx, protocol.OpFreeze, nil, nil)
}
