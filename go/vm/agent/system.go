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
	var m protocol.Clock
	err := c.do(ctx, protocol.OpClock, &protocol.Clock{}, &m)
	return time.Unix(0, m.Time), err
}

// SetClock sets the guest's time. A guest that resumes from a saved state has the
// time of the save.
func (c *Client) SetClock(ctx context.Context, t time.Time) error {
	return c.do(ctx, protocol.OpClock, &protocol.Clock{Set: true, Time: t.UnixNano()}, nil)
}

// AddEntropy adds a seed of 1 to 512 bytes to the guest's random numbers, with
// effect on all that it draws from then on. Guests that resume from the same saved
// state draw the same numbers otherwise.
func (c *Client) AddEntropy(ctx context.Context, seed []byte) error {
	return c.do(ctx, protocol.OpEntropy, &protocol.Entropy{Seed: string(seed)}, nil)
}

// Link is the configuration of a network card in the guest.
type Link = protocol.Link

// SetLink configures a network card, for guests without a DHCP client.
func (c *Client) SetLink(ctx context.Context, link Link) error {
	return c.do(ctx, protocol.OpLink, &link, nil)
}
